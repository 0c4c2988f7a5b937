// Exact copies (SHA-256) and near copies (MinHash) among the texts of a stream, in bounded memory.
//
// Source : Broder, "On the Resemblance and Containment of Documents", 1997; banding: Indyk and Motwani, 1998. 64 minima of hashed word
//          5-grams in 16 bands of 4.
// Differs: similarity is estimated from the 64 hashes, not checked on the texts. Of the texts that share a band the newest stands for all.
// Cost   : about 0.6 kB and 17 entries of hash tables a remembered text.
// Threads: fingerprint() may run on many threads; the rest is owned by one.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <nlohmann/json.hpp>

#include "alluvium/selectors/selector.h"

namespace alluvium::selectors {

/// What is kept of a text.
struct Fingerprint {
  static constexpr std::size_t kHashes = 64;
  uint64_t exact = 0;  ///< first 8 bytes of its SHA-256
  std::array<uint32_t, kHashes> signature{};
};

/// As [exact, signature]; reading throws as the functions of state_json.h.
nlohmann::json fingerprint_to_json(const Fingerprint& print);
Fingerprint fingerprint_from_json(const nlohmann::json& exact, const nlohmann::json& signature);

class CopyIndex {
 public:
  /// `seed` chooses the hashes. Beyond `capacity` texts the oldest is forgotten; at least 1.
  CopyIndex(uint64_t seed, int64_t capacity);

  Fingerprint fingerprint(const std::string& text) const;

  /// Of each sample's text, in order, by `threads` workers.
  std::vector<Fingerprint> fingerprints(std::span<const Sample> samples, int64_t threads) const;

  struct Earlier {
    int64_t number = 0;     ///< as insert() gave it
    double similarity = 0;  ///< estimated Jaccard similarity of word 5-grams
    bool exact = false;

    /// Whether it is the same text, or alike from `least` similarity on.
    bool is_copy(double least) const { return exact || similarity >= least; }
  };

  /// The same text, else the most similar of the remembered ones that share a band; nothing where none does.
  std::optional<Earlier> find(const Fingerprint& print) const;

  /// Remembers a text under the returned number: 0, 1, 2, ...
  int64_t insert(const Fingerprint& print);

  int64_t first() const { return first_; }  ///< number of the oldest text that is remembered
  int64_t size() const { return static_cast<int64_t>(prints_.size()); }

  /// Of the remembered texts, from number first() on.
  const std::deque<Fingerprint>& prints() const { return prints_; }

  /// Replaces everything by `prints`, of which the first has number `first`.
  void restore(int64_t first, std::span<const Fingerprint> prints);

 private:
  void forget_oldest();

  int64_t capacity_;
  std::array<uint64_t, Fingerprint::kHashes> multipliers_{};
  std::array<uint64_t, Fingerprint::kHashes> offsets_{};
  std::deque<Fingerprint> prints_;
  int64_t first_ = 0;
  std::unordered_map<uint64_t, int64_t> exact_;
  std::unordered_map<uint64_t, int64_t> bands_;
};

}  // namespace alluvium::selectors
