#include "exact_rankings.h"

#include <algorithm>
#include <set>

#include "support/catch.h"

namespace alluvium::experiments {
namespace {

Contender contender(const std::string& mode, int64_t chunk_bytes) {
  Contender made{"zip_fit", mode, {}};
  made.options.mode = mode;
  made.options.length.chunk_bytes = chunk_bytes;
  return made;
}

TEST_CASE("selection bench: recall is of the exact ranking over the same pieces",
          "[experiments][selection]") {
  ExactRankings exact;
  const std::vector<int64_t> ranked = {0, 1, 2, 3};
  CHECK_FALSE(exact.recall(contender("two_stage", 0), ranked, 2));

  exact.add(contender("ref", 0), {0, 1, 2, 3});
  CHECK(exact.recall(contender("two_stage", 0), ranked, 2) == 1.0);
  CHECK_FALSE(exact.recall(contender("two_stage", -1), ranked, 2));

  exact.add(contender("ref", -1), {3, 1, 2, 0});
  CHECK(exact.recall(contender("two_stage", -1), ranked, 2) == 0.5);
  CHECK(exact.recall(contender("two_stage", -1), ranked, 4) == 1.0);
  CHECK(exact.recall(contender("two_stage", 0), ranked, 2) == 1.0);

  Contender other = contender("ref", 0);
  other.selector = "bm25";
  CHECK_FALSE(exact.recall(other, ranked, 2));
}

TEST_CASE("selection bench: only ref by gzip 6 is exact", "[experiments][selection]") {
  Contender inexact = contender("ref", 0);
  SECTION("another mode") { inexact.options.mode = "cond"; }
  SECTION("another compressor") { inexact.options.compressor = "lz4"; }
  SECTION("another level") { inexact.options.level = 9; }
  SECTION("another selector") { inexact.selector = "length_matched_random"; }
  ExactRankings exact;
  exact.add(inexact, {0, 1});
  CHECK_FALSE(exact.recall(contender("two_stage", 0), {0, 1}, 2));
}

TEST_CASE("selection bench: every mode of zip_fit stands after the exact ranking it is judged by",
          "[experiments][selection]") {
  ExactRankings exact;
  std::set<std::string> names;
  bool has_default_path = false;
  for (const Contender& mode : zip_fit_contenders({})) {
    CAPTURE(mode.mode);
    CHECK(names.insert(mode.mode).second);
    exact.add(mode, {0});
    CHECK(exact.recall(mode, {0}, 1) == 1.0);
    has_default_path = has_default_path || mode.mode == "two_stage gzip-6 median chunks";
  }
  CHECK(has_default_path);
  CHECK(names.count("ref gzip-6 median chunks") == 1);
}

}  // namespace
}  // namespace alluvium::experiments
