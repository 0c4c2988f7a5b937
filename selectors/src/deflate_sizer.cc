#include "deflate_sizer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "alluvium/core/error.h"
#include "deflate_cost.h"

namespace alluvium::selectors {
namespace {

constexpr uint32_t kShortest = 3;
constexpr uint32_t kLongest = 258;
constexpr uint32_t kLookAhead = kLongest + kShortest + 1;
constexpr uint32_t kFarthest = kDeflateWindow - kLookAhead;
constexpr uint32_t kFarForShortest =
    4096;  // a match of three bytes from further back is not worth its bits
constexpr std::size_t kHashes = std::size_t{1} << 15;
// A block holds 16,383 symbols: a text of fewer bytes is one block. Positions stay within 16 bits.
constexpr std::size_t kMostBytes = 16'000;
constexpr std::size_t kPadding = 16;

// zlib's configuration_table.
struct Effort {
  uint32_t good;   // a match this long quarters the search for a better one
  uint32_t lazy;   // and from this long there is none
  uint32_t nice;   // a search ends with a match this long
  uint32_t chain;  // candidates looked at
};

constexpr std::array<Effort, 10> kEfforts = {{{},
                                              {},
                                              {},
                                              {},
                                              {4, 4, 16, 16},
                                              {8, 16, 32, 32},
                                              {8, 16, 128, 128},
                                              {8, 32, 128, 256},
                                              {32, 128, 258, 1024},
                                              {32, 258, 258, 4096}}};
constexpr int64_t kLowestLevel = 4;

uint32_t hash_of(const char* bytes) {
  const auto byte = [&](int i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
  return (byte(0) << 10 ^ byte(1) << 5 ^ byte(2)) & (kHashes - 1);
}

// Every position's hash, and the position before with the same one.
struct Chains {
  std::vector<uint16_t> hash;    // [bytes - 2]
  std::vector<uint16_t> before;  // position + 1; 0 = none
};

class ChainBuilder {
 public:
  ChainBuilder() : last_(kHashes) {}

  void build(std::string_view text, Chains& chains) {
    const std::size_t count = text.size() < kShortest ? 0 : text.size() - kShortest + 1;
    chains.hash.resize(count);
    chains.before.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      const uint32_t hash = hash_of(text.data() + i);
      chains.hash[i] = static_cast<uint16_t>(hash);
      chains.before[i] = last_[hash];
      last_[hash] = static_cast<uint16_t>(i + 1);
    }
    for (const uint16_t hash : chains.hash) {
      last_[hash] = 0;
    }
  }

 private:
  std::vector<uint16_t> last_;  // all zero between calls
};

// Where a parse stands between two positions.
struct Place {
  uint32_t position = 0;
  uint32_t match_length = kShortest - 1;  // of the match found at position - 1
  uint32_t match_start = 0;
  bool has_literal = false;  // the byte at position - 1 is not given out yet
};

// A prefix, whose positions may be matched, and a text behind it that is parsed. Position 0 is never matched, as in zlib, where it means
// the end of a chain.
class Parser {
 public:
  explicit Parser(const Effort& effort) : effort_(effort), head_(kHashes) {}

  // Takes a prefix in. Positions whose three bytes reach past it are entered with each text.
  void set_prefix(std::string_view prefix, const Chains& chains) {
    for (const uint16_t hash : entered_) {
      head_[hash] = 0;
    }
    entered_ = chains.hash;
    prefix_bytes_ = static_cast<uint32_t>(prefix.size());
    reserve(prefix.size());
    std::memcpy(bytes_.data(), prefix.data(), prefix.size());
    for (std::size_t i = 0; i < chains.hash.size(); ++i) {
      // chains.before is position + 1, and no position 0: 1 becomes 0, the end.
      before_[i] = static_cast<uint16_t>(std::max<int>(chains.before[i], 1) - 1);
      head_[chains.hash[i]] = static_cast<uint16_t>(i);
    }
  }

  // Lays a text behind the prefix. What head_ says is restored by the next call.
  void set_text(std::string_view text, const Chains& chains) {
    const std::size_t end = prefix_bytes_ + text.size();
    reserve(end);
    char* place = bytes_.data() + prefix_bytes_;
    std::memcpy(place, text.data(), text.size());
    std::memset(place + text.size(), 0, kPadding);
    end_ = static_cast<uint32_t>(end);

    struct Border {
      uint32_t hash;
      uint16_t head;
    };
    std::array<Border, 2> borders{};
    std::size_t count = 0;
    for (uint32_t back = 2; back >= 1; --back) {
      if (prefix_bytes_ >= back && prefix_bytes_ - back + kShortest <= end_) {
        const uint32_t position = prefix_bytes_ - back;
        const uint32_t hash = hash_of(bytes_.data() + position);
        borders[count++] = {hash, head_[hash]};
        before_[position] = head_[hash];
        head_[hash] = static_cast<uint16_t>(position);
      }
    }
    uint16_t* before = before_.data() + prefix_bytes_;
    for (std::size_t i = 0; i < chains.hash.size(); ++i) {
      const uint32_t own = chains.before[i];
      before[i] = own != 0 ? static_cast<uint16_t>(prefix_bytes_ + own - 1) : head_[chains.hash[i]];
    }
    while (count > 0) {
      --count;
      head_[borders[count].hash] = borders[count].head;
    }
  }

  // Only the prefix, for parse_prefix().
  void end_at_prefix() { end_ = prefix_bytes_; }

  // Parses to the end and adds the symbols.
  void parse(Place place, SymbolCounts& counts) const { run<false>(place, counts); }

  // Parses the prefix as far as what may follow it cannot matter; returns where that is.
  Place parse_prefix(SymbolCounts& counts) const { return run<true>({}, counts); }

  uint32_t prefix_bytes() const { return prefix_bytes_; }

 private:
  void reserve(std::size_t bytes) {
    if (bytes_.size() < bytes + kPadding) {
      bytes_.resize(bytes + kPadding);
      before_.resize(bytes + kPadding);
    }
  }

  uint32_t common_bytes(uint32_t a, uint32_t b, uint32_t most) const {
    const char* x = bytes_.data() + a;
    const char* y = bytes_.data() + b;
    uint32_t length = 0;
    while (length < most) {
      uint64_t left = 0;
      uint64_t right = 0;
      std::memcpy(&left, x + length, sizeof left);
      std::memcpy(&right, y + length, sizeof right);
      if (const uint64_t difference = left ^ right; difference != 0) {
        length += static_cast<uint32_t>(std::countr_zero(difference)) / 8;
        return std::min(length, most);
      }
      length += sizeof left;
    }
    return most;
  }

  static uint32_t four_bytes(const char* bytes) {
    uint32_t four = 0;
    std::memcpy(&four, bytes, sizeof four);
    return four;
  }

  template <bool kPrefixOnly>
  Place run(Place place, SymbolCounts& counts) const {
    const char* bytes = bytes_.data();
    const uint16_t* before = before_.data();
    const uint32_t end = end_;
    uint32_t position = place.position;
    uint32_t match_length = place.match_length;
    uint32_t match_start = place.match_start;
    bool has_literal = place.has_literal;

    while (position < end) {
      const uint32_t ahead = end - position;
      const uint32_t last_length = match_length;
      const uint32_t last_start = match_start;
      match_length = kShortest - 1;
      if (kPrefixOnly && ahead < kShortest) {
        return {position, last_length, last_start, has_literal};
      }
      // What is left cannot beat a match that is as long already; behind a prefix more will be left.
      if (ahead >= kShortest && last_length < effort_.lazy &&
          (kPrefixOnly || last_length < ahead)) {
        uint32_t candidate = before[position];
        if (candidate != 0 && position - candidate <= kFarthest) {
          const uint32_t limit = position > kFarthest ? position - kFarthest : 0;
          const uint32_t most = std::min(ahead, kLongest);
          const uint32_t nice = std::min(effort_.nice, ahead);
          uint32_t chain = last_length >= effort_.good ? effort_.chain >> 2 : effort_.chain;
          uint32_t best = last_length;
          if (kPrefixOnly && best >= most) {
            return {position, last_length, last_start, has_literal};
          }
          // A longer match has these four bytes too (three while there is no match yet); few others have them.
          uint32_t tail = best < kShortest ? 0 : best - kShortest;
          uint32_t mask = best < kShortest ? 0x00ffffffU : ~0U;
          uint32_t wanted = four_bytes(bytes + position + tail) & mask;
          do {
            if ((four_bytes(bytes + candidate + tail) & mask) == wanted) {
              const uint32_t length = common_bytes(candidate, position, most);
              if (kPrefixOnly && length == ahead) {
                return {position, last_length, last_start, has_literal};
              }
              if (length > best) {
                match_start = candidate;
                best = length;
                if (length >= nice) {
                  break;
                }
                tail = best - kShortest;
                mask = ~0U;
                wanted = four_bytes(bytes + position + tail);
              }
            }
            candidate = before[candidate];
          } while (candidate > limit && --chain != 0);
          match_length = best;
          if (match_length == kShortest && position - match_start > kFarForShortest) {
            match_length = kShortest - 1;
          }
        }
      }
      if (last_length >= kShortest && match_length <= last_length) {
        counts.add_match(last_length, position - 1 - last_start);
        position += last_length - 1;
        has_literal = false;
        match_length = kShortest - 1;
      } else {
        if (has_literal) {
          counts.add_literal(static_cast<uint8_t>(bytes[position - 1]));
        }
        has_literal = true;
        ++position;
      }
    }
    if (!kPrefixOnly && has_literal) {
      counts.add_literal(static_cast<uint8_t>(bytes[position - 1]));
    }
    return {position, match_length, match_start, has_literal};
  }

  Effort effort_;
  std::vector<uint16_t> head_;     // last position of the prefix with a hash
  std::vector<uint16_t> entered_;  // hashes in head_
  std::vector<char> bytes_;
  std::vector<uint16_t> before_;  // position before with the same hash; 0 = none
  uint32_t prefix_bytes_ = 0;
  uint32_t end_ = 0;
};

class SizeOnlySizer final : public DeflateSizer {
 public:
  SizeOnlySizer(Texts targets, int64_t level)
      : targets_(std::move(targets)),
        zlib_(make_zlib_sizer(targets_, level)),
        parser_(kEfforts[static_cast<std::size_t>(level)]),
        pool_(kEfforts[static_cast<std::size_t>(level)]) {
    if (targets_ == nullptr) {
      return;
    }
    target_chains_.resize(targets_->size());
    for (std::size_t j = 0; j < targets_->size(); ++j) {
      if ((*targets_)[j].size() <= kMostBytes) {
        builder_.build((*targets_)[j], target_chains_[j]);
      }
    }
    const std::string dictionary = pooled_dictionary(*targets_);
    Chains chains;
    builder_.build(dictionary, chains);
    pool_.set_prefix(dictionary, chains);
  }

  int64_t size(std::string_view text) override { return raw_size(text) + kGzipWrapper; }

  int64_t raw_size(std::string_view text) override {
    if (text.size() > kMostBytes) {
      return zlib_->raw_size(text);
    }
    builder_.build(text, source_chains_);
    parser_.set_prefix({}, {});
    return behind_prefix(parser_, text, source_chains_);
  }

  void joint_sizes(std::string_view source, std::span<int64_t> sizes) override {
    std::size_t longest = 0;
    for (const std::string& target : *targets_) {
      longest = std::max(longest, target.size());
    }
    if (source.size() + longest > kMostBytes) {
      zlib_->joint_sizes(source, sizes);
      return;
    }
    builder_.build(source, source_chains_);
    parser_.set_prefix(source, source_chains_);
    parser_.end_at_prefix();
    SymbolCounts shared;
    const Place place = parser_.parse_prefix(shared);
    for (std::size_t j = 0; j < sizes.size(); ++j) {
      const std::string& target = (*targets_)[j];
      parser_.set_text(target, target_chains_[j]);
      SymbolCounts counts = shared;
      parser_.parse(place, counts);
      sizes[j] =
          cost_.bytes(counts, static_cast<int64_t>(source.size() + target.size())) + kGzipWrapper;
    }
  }

  void conditional_sizes(std::string_view source, std::span<int64_t> sizes) override {
    std::size_t longest = 0;
    for (const std::string& target : *targets_) {
      longest = std::max(longest, target.size());
    }
    if (source.size() > kMostBytes || longest > kMostBytes) {
      zlib_->conditional_sizes(source, sizes);
      return;
    }
    builder_.build(source, source_chains_);
    for (std::size_t j = 0; j < sizes.size(); ++j) {
      parser_.set_prefix((*targets_)[j], target_chains_[j]);
      sizes[j] = behind_prefix(parser_, source, source_chains_);
    }
  }

  int64_t pooled_size(std::string_view source) override {
    if (source.size() > kMostBytes) {
      return zlib_->pooled_size(source);
    }
    builder_.build(source, source_chains_);
    return behind_prefix(pool_, source, source_chains_);
  }

 private:
  int64_t behind_prefix(Parser& parser, std::string_view text, const Chains& chains) {
    parser.set_text(text, chains);
    SymbolCounts counts;
    Place place;
    place.position = parser.prefix_bytes();
    parser.parse(place, counts);
    return cost_.bytes(counts, static_cast<int64_t>(text.size()));
  }

  Texts targets_;
  std::unique_ptr<DeflateSizer> zlib_;
  ChainBuilder builder_;
  std::vector<Chains> target_chains_;
  Chains source_chains_;
  Parser parser_;
  Parser pool_;  // its prefix is the pooled dictionary
  BlockCost cost_;
};

}  // namespace

std::unique_ptr<DeflateSizer> make_deflate_sizer(Texts targets, int64_t level) {
  if (level < kLowestLevel || level > 9) {
    return make_zlib_sizer(std::move(targets), level);
  }
  return std::make_unique<SizeOnlySizer>(std::move(targets), level);
}

}  // namespace alluvium::selectors
