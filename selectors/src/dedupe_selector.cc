#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <unordered_map>
#include <utility>

#include "alluvium/core/random.h"
#include "alluvium/core/sha256.h"
#include "baseline_selectors.h"
#include "state_json.h"
#include "words.h"
#include "workers.h"

namespace alluvium::selectors {
namespace {

constexpr std::size_t kHashes = 64;
constexpr std::size_t kBands = 16;
constexpr std::size_t kRows = kHashes / kBands;
constexpr std::size_t kShingleWords = 5;

using Signature = std::array<uint32_t, kHashes>;

// What is kept of a text.
struct Fingerprint {
  uint64_t exact = 0;  // first 8 bytes of its SHA-256
  Signature signature{};
};

uint64_t hash_bytes(std::string_view bytes, uint64_t hash) {
  for (const char byte : bytes) {  // FNV-1a
    hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3U;
  }
  return hash;
}

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

class DedupeSelector final : public Selector {
 public:
  explicit DedupeSelector(const SelectorOptions& options)
      : threads_(options.threads),
        threshold_(options.duplicate_threshold),
        capacity_(options.dedupe_capacity) {
    ALLUVIUM_CHECK(threshold_ > 0 && threshold_ <= 1,
                   "duplicate_threshold must be in (0, 1], got {}", threshold_);
    ALLUVIUM_CHECK(capacity_ >= 1, "dedupe_capacity must be at least 1, got {}", capacity_);
    Random random(options.seed);
    for (std::size_t i = 0; i < kHashes; ++i) {
      multipliers_[i] = random.next() | 1U;
      offsets_[i] = random.next();
    }
  }

  std::string label() const override { return fmt::format("dedupe {}", threshold_); }
  bool needs_targets() const override { return false; }
  void set_targets(std::shared_ptr<const TargetSet>) override {}

  std::vector<Score> score(std::span<const Sample> samples) override {
    std::vector<Fingerprint> prints(samples.size());
    run_by_bytes(samples, threads_, [&](std::size_t, std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        prints[i] = fingerprint(samples[i].text);
      }
    });
    std::vector<Score> scores;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      scores.push_back(judge(prints[i], samples[i].id));
    }
    return scores;
  }

  std::string explain(const Sample&, double score) override {
    return fmt::format("highest similarity to an earlier text {:.2f}", 1 - score);
  }

  std::string save() const override {
    nlohmann::json rows = nlohmann::json::array();
    for (const Entry& entry : entries_) {
      nlohmann::json::binary_t signature;
      signature.resize(sizeof(Signature));
      std::memcpy(signature.data(), entry.print.signature.data(), sizeof(Signature));
      rows.push_back({entry.id, entry.print.exact, signature});
    }
    return pack_state({{"first", first_}, {"entries", rows}});
  }

  void restore(std::string_view bytes) override {
    unpack_state(bytes, "dedupe", [this](const nlohmann::json& state) {
      entries_.clear();
      exact_.clear();
      bands_.clear();
      first_ = state.at("first").get<int64_t>();
      for (const nlohmann::json& row : state.at("entries")) {
        Entry entry{row.at(0).get<std::string>(), {row.at(1).get<uint64_t>(), {}}};
        const nlohmann::json::binary_t& signature = row.at(2).get_binary();
        if (signature.size() != sizeof(Signature)) {
          throw DataCorruption("state of selector dedupe: a signature of another size");
        }
        std::memcpy(entry.print.signature.data(), signature.data(), sizeof(Signature));
        insert(std::move(entry));
      }
    });
  }

 private:
  struct Entry {
    std::string id;
    Fingerprint print;
  };

  Fingerprint fingerprint(const std::string& text) const {
    Fingerprint print;
    const Digest digest = sha256(text);
    std::memcpy(&print.exact, digest.data(), sizeof print.exact);
    print.signature.fill(UINT32_MAX);
    const std::vector<std::string> words = split_words(text, Punctuation::drop);
    const std::size_t shingles =
        words.size() < kShingleWords ? 1 : words.size() - kShingleWords + 1;
    for (std::size_t s = 0; s < shingles; ++s) {
      uint64_t hash = 0xcbf29ce484222325U;
      for (std::size_t w = s; w < std::min(words.size(), s + kShingleWords); ++w) {
        hash = hash_bytes(words[w], hash * 31 + 7);
      }
      hash = mix(hash);
      for (std::size_t i = 0; i < kHashes; ++i) {
        const auto value = static_cast<uint32_t>((hash * multipliers_[i] + offsets_[i]) >> 32);
        print.signature[i] = std::min(print.signature[i], value);
      }
    }
    return print;
  }

  static uint64_t band_key(const Signature& signature, std::size_t band) {
    uint64_t key = band + 1;
    for (std::size_t row = 0; row < kRows; ++row) {
      key = mix(key * 0x9e3779b97f4a7c15U + signature[band * kRows + row]);
    }
    return key;
  }

  Score judge(const Fingerprint& print, const std::string& id) {
    if (const auto same = exact_.find(print.exact); same != exact_.end()) {
      return {0, Verdict::retire, "exact copy of " + entry(same->second).id};
    }
    double best = 0;
    int64_t nearest = -1;
    for (std::size_t band = 0; band < kBands; ++band) {
      const auto found = bands_.find(band_key(print.signature, band));
      if (found == bands_.end()) {
        continue;
      }
      const Signature& other = entry(found->second).print.signature;
      int64_t equal = 0;
      for (std::size_t i = 0; i < kHashes; ++i) {
        equal += other[i] == print.signature[i] ? 1 : 0;
      }
      const double similarity = static_cast<double>(equal) / static_cast<double>(kHashes);
      if (similarity > best) {
        best = similarity;
        nearest = found->second;
      }
    }
    if (best >= threshold_) {
      return {1 - best, Verdict::retire,
              fmt::format("near copy of {} (similarity {:.2f})", entry(nearest).id, best)};
    }
    insert({id, print});
    return {1 - best, Verdict::rank, {}};
  }

  const Entry& entry(int64_t number) const {
    return entries_[static_cast<std::size_t>(number - first_)];
  }

  // The newest holder of a band stands for all of them; the oldest text makes room.
  void insert(Entry added) {
    const int64_t number = first_ + static_cast<int64_t>(entries_.size());
    exact_[added.print.exact] = number;
    for (std::size_t band = 0; band < kBands; ++band) {
      bands_[band_key(added.print.signature, band)] = number;
    }
    entries_.push_back(std::move(added));
    if (static_cast<int64_t>(entries_.size()) > capacity_) {
      forget_oldest();
    }
  }

  void forget_oldest() {
    const Fingerprint& print = entries_.front().print;
    const auto drop = [this](auto& table, uint64_t key) {
      const auto found = table.find(key);
      if (found != table.end() && found->second == first_) {
        table.erase(found);
      }
    };
    drop(exact_, print.exact);
    for (std::size_t band = 0; band < kBands; ++band) {
      drop(bands_, band_key(print.signature, band));
    }
    entries_.pop_front();
    ++first_;
  }

  int64_t threads_;
  double threshold_;
  int64_t capacity_;
  std::array<uint64_t, kHashes> multipliers_{};
  std::array<uint64_t, kHashes> offsets_{};
  std::deque<Entry> entries_;
  int64_t first_ = 0;  // number of entries_.front()
  std::unordered_map<uint64_t, int64_t> exact_;
  std::unordered_map<uint64_t, int64_t> bands_;
};

}  // namespace

std::unique_ptr<Selector> make_dedupe(const SelectorOptions& options) {
  return std::make_unique<DedupeSelector>(options);
}

}  // namespace alluvium::selectors
