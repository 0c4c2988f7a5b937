#include "reference_vectors.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace alluvium::selectors {
namespace {

constexpr std::array<std::string_view, 3> kTexts = {
    "def add(a, b):\n    \"\"\"Return the sum of a and b.\"\"\"\n    return a + b\n",
    "def sub(a, b):\n    \"\"\"Return the difference of a and b.\"\"\"\n    return a - b\n",
    "Forecasters expect the river to fall below flood level by Thursday.\n"};
constexpr std::array<int64_t, 3> kSizes = {78, 86, 84};

// Bytes of a linear congruential generator, seed 12345: they test long input, which short texts do not.
std::string generated(std::size_t bytes) {
  std::string text;
  for (uint32_t x = 12345; text.size() < bytes;) {
    x = (1103515245U * x + 12345U) & 0x7fffffffU;
    text += static_cast<char>((x >> 16) & 255U);
  }
  return text;
}

bool matches(PairSizer& sizer, int64_t level) {
  for (std::size_t i = 0; i < kTexts.size(); ++i) {
    if (sizer.size(kTexts[i]) != kSizes[i]) {
      return false;
    }
  }
  const std::string random = generated(20000);
  return sizer.size("") == 20 &&
         sizer.size(std::string(kTexts[0]) + std::string(kTexts[1])) == 102 &&
         sizer.size(random) == 20028 && sizer.size(random + random) == (level == 1 ? 20287 : 20283);
}

}  // namespace

bool zlib_is_reference() {
  static const bool is_reference =
      gives_reference_sizes([](int64_t level) { return make_zlib_sizer(nullptr, level); });
  return is_reference;
}

bool gives_reference_sizes(
    const std::function<std::unique_ptr<PairSizer>(int64_t level)>& make_sizer) {
  return std::ranges::all_of(std::array<int64_t, 3>{1, 6, 9},
                             [&](int64_t level) { return matches(*make_sizer(level), level); });
}

}  // namespace alluvium::selectors
