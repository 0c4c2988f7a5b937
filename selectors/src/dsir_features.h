// DSIR's hashed n-gram features.
//
// Threads: a BucketHasher is owned by one thread; the function is thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace alluvium::selectors {

constexpr int64_t kDsirBuckets = 10'000;

/// SHA-256 of the n-gram as a big-endian number, modulo 10,000.
int64_t dsir_bucket(std::string_view gram);

/// Buckets of a text's words and pairs of neighbouring words. Remembers the buckets of grams it has seen, up to a bound.
class BucketHasher {
 public:
  /// One entry an occurrence: n words give 2 n - 1 buckets. `tokens` is set to n.
  const std::vector<int32_t>& buckets(std::string_view text, int64_t& tokens);

 private:
  int32_t find(const std::string& gram);

  std::unordered_map<std::string, int32_t> known_;
  std::vector<int32_t> buckets_;
};

}  // namespace alluvium::selectors
