#include "alluvium/experiments/qa_metrics.h"

#include "support/catch.h"

namespace alluvium::tests {
namespace {

using Catch::Matchers::WithinAbs;
using experiments::exact_match;
using experiments::normalise_answer;
using experiments::token_f1;

TEST_CASE("normalise_answer: case, punctuation, articles and spaces go", "[experiments][qa]") {
  CHECK(normalise_answer("The  Denver Broncos!") == "denver broncos");
  CHECK(normalise_answer("  a cat, an owl\tand\nthe theatre ") == "cat owl and theatre");
  CHECK(normalise_answer("A.B.C.") == "abc");
  CHECK(normalise_answer("the") == "");
  CHECK(normalise_answer("") == "");
}

TEST_CASE("normalise_answer: punctuation goes before articles, and other scripts stay",
          "[experiments][qa]") {
  // "a-n" loses its hyphen first and is then the word "an".
  CHECK(normalise_answer("a-n apple") == "apple");
  // The en dash is not ASCII punctuation: it stays, and the "a" beside it is a word of its own.
  CHECK(normalise_answer("24\u201310") == "24\u201310");
  CHECK(normalise_answer("a\u2013b") == "\u2013b");
  CHECK(normalise_answer("\u00c9cole Polytechnique") == "\u00e9cole polytechnique");
  CHECK(normalise_answer("\u6771\u4eac\u00a0the\u00a0\u5927\u962a") == "\u6771\u4eac \u5927\u962a");
}

TEST_CASE("exact_match: any of the answers counts", "[experiments][qa]") {
  CHECK(exact_match("the Broncos", {"Carolina", "Broncos."}) == 1);
  CHECK(exact_match("Broncos of Denver", {"Broncos"}) == 0);
}

TEST_CASE("exact_match: an unanswerable question wants an empty answer", "[experiments][qa]") {
  CHECK(exact_match("", {}) == 1);
  CHECK(exact_match("the", {}) == 1);
  CHECK(exact_match("Broncos", {}) == 0);
  CHECK(token_f1("", {}) == 1);
  CHECK(token_f1("Broncos", {}) == 0);
}

TEST_CASE("token_f1: words are compared as multisets", "[experiments][qa]") {
  // 2 words in common, 3 predicted, 2 gold: P = 2/3, R = 1, F1 = 4/5.
  CHECK_THAT(token_f1("Denver Broncos team", {"the Denver Broncos"}), WithinAbs(0.8, 1e-12));
  // "b b" against "b c": one in common, P = R = 1/2.
  CHECK_THAT(token_f1("b b", {"b c"}), WithinAbs(0.5, 1e-12));
  // The best of several answers.
  CHECK_THAT(token_f1("b c d", {"x", "b c", "b"}), WithinAbs(0.8, 1e-12));
  CHECK(token_f1("x", {"y"}) == 0);
  CHECK(token_f1("", {"y"}) == 0);
}

}  // namespace
}  // namespace alluvium::tests
