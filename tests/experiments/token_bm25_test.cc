#include "token_bm25.h"

#include "support/catch.h"

namespace alluvium::experiments {
namespace {

using Tokens = std::vector<backbone::TokenId>;

TokenBm25 index_of(const std::vector<Tokens>& documents) {
  std::vector<std::span<const backbone::TokenId>> views(documents.begin(), documents.end());
  return TokenBm25(views);
}

}  // namespace

// Three documents of length 2, 2 and 5, mean 3. Token 1 stands once in the first and three times in the third: idf = ln(1 + 1.5 / 2.5).
// First: 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / 3)) = 2.2 / 1.9; third: 3 * 2.2 / (3 + 1.2 * (0.25 + 0.75 * 5 / 3)) = 6.6 / 4.8: the third leads.
// Token 2 stands once in the first and in the second: 2.2 / 1.9 each, so that the first overtakes (2 * 1.158 against 1.375).
TEST_CASE("token bm25: ranks as worked out by hand", "[experiments][token_bm25]") {
  const TokenBm25 index = index_of({{1, 2}, {2, 3}, {1, 1, 1, 4, 4}});
  CHECK(index.best(Tokens{1}, 5) == std::vector<std::size_t>{2, 0});
  CHECK(index.best(Tokens{1, 2}, 5) == std::vector<std::size_t>{0, 2, 1});
  CHECK(index.best(Tokens{1, 2}, 1) == std::vector<std::size_t>{0});
  CHECK(index.best(Tokens{9}, 5).empty());
  CHECK(index.best(Tokens{}, 5).empty());
}

TEST_CASE("token bm25: equal scores go to the earlier document", "[experiments][token_bm25]") {
  const TokenBm25 index = index_of({{5}, {7}, {7}, {7}});
  CHECK(index.best(Tokens{7}, 2) == std::vector<std::size_t>{1, 2});
}

TEST_CASE("token bm25: no documents, no answer", "[experiments][token_bm25]") {
  CHECK(index_of({}).best(Tokens{1}, 3).empty());
}

}  // namespace alluvium::experiments
