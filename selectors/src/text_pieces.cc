#include "text_pieces.h"

#include <algorithm>

namespace alluvium::selectors {

std::vector<std::string_view> cut_evenly(std::string_view text, int64_t limit) {
  const auto most = static_cast<std::size_t>(std::max<int64_t>(limit, 0));
  if (most == 0 || text.size() <= most) {
    return {text};
  }
  const std::size_t count = (text.size() + most - 1) / most;
  std::vector<std::string_view> pieces;
  std::size_t begin = 0;
  for (std::size_t i = 1; i <= count; ++i) {
    std::size_t end = text.size() * i / count;
    while (end < text.size() && end > begin && (text[end] & '\xc0') == '\x80') {
      --end;
    }
    if (end > begin) {
      pieces.push_back(text.substr(begin, end - begin));
      begin = end;
    }
  }
  return pieces;
}

int64_t median_bytes(const std::vector<std::string>& texts) {
  if (texts.empty()) {
    return 0;
  }
  std::vector<int64_t> sizes;
  for (const std::string& text : texts) {
    sizes.push_back(static_cast<int64_t>(text.size()));
  }
  const auto middle = sizes.begin() + static_cast<std::ptrdiff_t>((sizes.size() - 1) / 2);
  std::nth_element(sizes.begin(), middle, sizes.end());
  return *middle;
}

}  // namespace alluvium::selectors
