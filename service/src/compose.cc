#include "alluvium/service/compose.h"

#include <algorithm>

#include <fmt/format.h>

#include "alluvium/core/error.h"

namespace alluvium::service {

const std::vector<std::string>& compose_words() {
  static const std::vector<std::string> words = {"choose", "together", "sequence", "blend",
                                                 "reuse"};
  return words;
}

const std::string& compose_word(Compose compose) {
  return compose_words()[static_cast<std::size_t>(compose)];
}

Compose parse_compose(const std::string& word) {
  const std::vector<std::string>& words = compose_words();
  const auto found = std::find(words.begin(), words.end(), word);
  ALLUVIUM_CHECK(found != words.end(), "unknown way to compose documents '{}'; known: {}", word,
                 fmt::join(words, ", "));
  return static_cast<Compose>(found - words.begin());
}

}  // namespace alluvium::service
