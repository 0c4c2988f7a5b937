// Seeded random numbers that repeat on every platform.
//
// Source : SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) seeds xoshiro256** (Blackman, Vigna, 2018).
// Differs: distributions are our own, because the standard library's differ between implementations.
// Threads: thread-compatible; give each thread its own generator.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace alluvium {

class Random {
 public:
  explicit Random(uint64_t seed);

  /// Uniform over all 64-bit values.
  uint64_t next();

  /// Uniform in [0, bound). Throws InvalidArgument when bound == 0.
  uint64_t below(uint64_t bound);

  /// Uniform in [0, 1), 53 bits.
  double uniform();

  /// Standard normal (Box-Muller).
  double normal();

  /// Fisher-Yates shuffle in place.
  template <class T>
  void shuffle(std::vector<T>& items) {
    for (std::size_t i = items.size(); i > 1; --i) {
      std::swap(items[i - 1], items[below(i)]);
    }
  }

 private:
  std::array<uint64_t, 4> state_;
};

}  // namespace alluvium
