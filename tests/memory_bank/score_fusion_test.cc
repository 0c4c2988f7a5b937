#include "score_fusion.h"

#include "alluvium/core/error.h"
#include "support/catch.h"

namespace alluvium::tests {
namespace {

using Catch::Matchers::WithinAbs;
using memory_bank::KeyHit;
using memory_bank::LexicalHit;
using memory_bank::RetrievalHit;
using memory_bank::RetrievalMethod;

}  // namespace

TEST_CASE("fusion: BM25 over its maximum plus weighted cosine", "[memory_bank][retrieval]") {
  // Highest BM25 is 8. Scores with weight 1.5: 8/8 + 0.3 = 1.3; 4/8 + 1.2 = 1.7; 0 + 0.9 = 0.9.
  std::vector<RetrievalHit> hits = {{1, 0, 8, 0.2}, {2, 0, 4, 0.8}, {3, 0, 0, 0.6}};
  fuse_scores(hits, 1.5);
  rank_hits(hits, 10);
  REQUIRE(hits.size() == 3);
  CHECK(hits[0].document_row == 2);
  CHECK_THAT(hits[0].score, WithinAbs(1.7, 1e-12));
  CHECK(hits[1].document_row == 1);
  CHECK_THAT(hits[1].score, WithinAbs(1.3, 1e-12));
  CHECK_THAT(hits[2].score, WithinAbs(0.9, 1e-12));
}

TEST_CASE("fusion: without any lexical hit the cosine decides", "[memory_bank][retrieval]") {
  std::vector<RetrievalHit> hits = {{1, 0, 0, 0.2}, {2, 0, 0, 0.4}};
  fuse_scores(hits, 1.5);
  rank_hits(hits, 1);
  REQUIRE(hits.size() == 1);
  CHECK(hits[0].document_row == 2);
  CHECK_THAT(hits[0].score, WithinAbs(0.6, 1e-12));
}

TEST_CASE("fusion: reciprocal ranks add up over both lists", "[memory_bank][retrieval]") {
  std::vector<RetrievalHit> hits = {{1, 0, 0, 0}, {2, 0, 0, 0}, {3, 0, 0, 0}};
  const std::vector<LexicalHit> lexical = {{1, 9.0}, {2, 8.0}};
  const std::vector<KeyHit> nearest = {{2, 0.9}, {3, 0.8}};
  fuse_ranks(hits, lexical, nearest, 60);
  rank_hits(hits, 10);
  CHECK(hits[0].document_row == 2);
  CHECK_THAT(hits[0].score, WithinAbs(1.0 / 62 + 1.0 / 61, 1e-12));
  CHECK(hits[1].document_row == 1);
  CHECK_THAT(hits[1].score, WithinAbs(1.0 / 61, 1e-12));
  CHECK_THAT(hits[2].score, WithinAbs(1.0 / 62, 1e-12));
}

TEST_CASE("fusion: equal scores go to the lower row", "[memory_bank][retrieval]") {
  std::vector<RetrievalHit> hits = {{5, 1, 0, 0}, {2, 1, 0, 0}, {9, 2, 0, 0}};
  rank_hits(hits, 10);
  CHECK(hits[0].document_row == 9);
  CHECK(hits[1].document_row == 2);
  CHECK(hits[2].document_row == 5);
  rank_hits(hits, 0);
  CHECK(hits.empty());
}

TEST_CASE("retrieval methods have four names", "[memory_bank][retrieval]") {
  CHECK(memory_bank::parse_retrieval_method("bm25") == RetrievalMethod::bm25);
  CHECK(memory_bank::parse_retrieval_method("vector") == RetrievalMethod::vector);
  CHECK(memory_bank::parse_retrieval_method("hybrid") == RetrievalMethod::hybrid);
  CHECK(memory_bank::parse_retrieval_method("rrf") == RetrievalMethod::rrf);
  CHECK_THROWS_AS(memory_bank::parse_retrieval_method("Hybrid"), InvalidArgument);
}

}  // namespace alluvium::tests
