#include "answer_stream.h"

#include <algorithm>
#include <utility>

namespace alluvium::service {
namespace {

constexpr std::string_view kWhiteSpace = " \t\r\n\f\v";

}  // namespace

std::string trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kWhiteSpace);
  if (begin == std::string_view::npos) {
    return {};
  }
  return std::string(text.substr(begin, text.find_last_not_of(kWhiteSpace) - begin + 1));
}

bool AnswerStream::push(std::string_view piece) {
  if (!on_text_) {
    return true;
  }
  std::string ready = std::move(held_);
  held_.clear();
  ready.append(piece);
  if (!begun_) {
    ready.erase(0, std::min(ready.find_first_not_of(kWhiteSpace), ready.size()));
  }
  const std::size_t end = ready.find_last_not_of(kWhiteSpace);
  const std::size_t keep = end == std::string::npos ? 0 : end + 1;
  held_ = ready.substr(keep);
  ready.resize(keep);
  if (ready.empty()) {
    return true;
  }
  begun_ = true;
  return on_text_(ready);
}

}  // namespace alluvium::service
