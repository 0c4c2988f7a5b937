#include "copy_index.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/core/sha256.h"
#include "words.h"
#include "workers.h"

namespace alluvium::selectors {
namespace {

constexpr std::size_t kHashes = Fingerprint::kHashes;
constexpr std::size_t kBands = 16;
constexpr std::size_t kRows = kHashes / kBands;
constexpr std::size_t kShingleWords = 5;

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

uint64_t band_key(const std::array<uint32_t, kHashes>& signature, std::size_t band) {
  uint64_t key = band + 1;
  for (std::size_t row = 0; row < kRows; ++row) {
    key = mix(key * 0x9e3779b97f4a7c15U + signature[band * kRows + row]);
  }
  return key;
}

}  // namespace

nlohmann::json fingerprint_to_json(const Fingerprint& print) {
  nlohmann::json::binary_t signature;
  signature.resize(sizeof print.signature);
  std::memcpy(signature.data(), print.signature.data(), sizeof print.signature);
  return {print.exact, signature};
}

Fingerprint fingerprint_from_json(const nlohmann::json& exact, const nlohmann::json& signature) {
  Fingerprint print;
  print.exact = exact.get<uint64_t>();
  const nlohmann::json::binary_t& binary = signature.get_binary();
  if (binary.size() != sizeof print.signature) {
    throw DataCorruption("state of a selector: a signature of another size");
  }
  std::memcpy(print.signature.data(), binary.data(), sizeof print.signature);
  return print;
}

CopyIndex::CopyIndex(uint64_t seed, int64_t capacity) : capacity_(capacity) {
  Random random(seed);
  for (std::size_t i = 0; i < kHashes; ++i) {
    multipliers_[i] = random.next() | 1U;
    offsets_[i] = random.next();
  }
}

Fingerprint CopyIndex::fingerprint(const std::string& text) const {
  Fingerprint print;
  const Digest digest = sha256(text);
  std::memcpy(&print.exact, digest.data(), sizeof print.exact);
  print.signature.fill(UINT32_MAX);
  const std::vector<std::string> words = split_words(text, Punctuation::drop);
  const std::size_t shingles = words.size() < kShingleWords ? 1 : words.size() - kShingleWords + 1;
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

std::vector<Fingerprint> CopyIndex::fingerprints(std::span<const Sample> samples,
                                                 int64_t threads) const {
  std::vector<Fingerprint> prints(samples.size());
  run_by_bytes(samples, threads, [&](std::size_t, std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      prints[i] = fingerprint(samples[i].text);
    }
  });
  return prints;
}

std::optional<CopyIndex::Earlier> CopyIndex::find(const Fingerprint& print) const {
  if (const auto same = exact_.find(print.exact); same != exact_.end()) {
    return Earlier{same->second, 1, true};
  }
  std::optional<Earlier> nearest;
  for (std::size_t band = 0; band < kBands; ++band) {
    const auto found = bands_.find(band_key(print.signature, band));
    if (found == bands_.end()) {
      continue;
    }
    const auto& other = prints_[static_cast<std::size_t>(found->second - first_)].signature;
    int64_t equal = 0;
    for (std::size_t i = 0; i < kHashes; ++i) {
      equal += other[i] == print.signature[i] ? 1 : 0;
    }
    const double similarity = static_cast<double>(equal) / static_cast<double>(kHashes);
    if (!nearest || similarity > nearest->similarity) {
      nearest = {found->second, similarity, false};
    }
  }
  return nearest;
}

// The newest holder of a band stands for all of them; the oldest text makes room.
int64_t CopyIndex::insert(const Fingerprint& print) {
  const int64_t number = first_ + size();
  exact_[print.exact] = number;
  for (std::size_t band = 0; band < kBands; ++band) {
    bands_[band_key(print.signature, band)] = number;
  }
  prints_.push_back(print);
  if (size() > capacity_) {
    forget_oldest();
  }
  return number;
}

void CopyIndex::forget_oldest() {
  const Fingerprint& print = prints_.front();
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
  prints_.pop_front();
  ++first_;
}

void CopyIndex::restore(int64_t first, std::span<const Fingerprint> prints) {
  prints_.clear();
  exact_.clear();
  bands_.clear();
  first_ = first;
  for (const Fingerprint& print : prints) {
    insert(print);
  }
}

}  // namespace alluvium::selectors
