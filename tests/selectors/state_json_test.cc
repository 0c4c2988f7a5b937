#include "state_json.h"

#include "support/catch.h"

namespace alluvium::selectors {

using nlohmann::json;

TEST_CASE("state: rows and outcomes come back bit for bit", "[selectors][state]") {
  RowMatrix rows{.dimension = 2, .values = {1.5F, -0.0F, 1e-30F, 3.0F}};
  const RowMatrix again = rows_from_json(rows_to_json(rows));
  CHECK(again.dimension == 2);
  CHECK(again.values == rows.values);
  CHECK(rows_from_json(rows_to_json({})).rows() == 0);
  const std::map<int64_t, Score> outcomes = {{3, {0.1, Verdict::rank, {}}},
                                             {7, {0, Verdict::retire, "a copy"}}};
  const auto back = outcomes_from_json(outcomes_to_json(outcomes));
  REQUIRE(back.size() == 2);
  CHECK(back.at(3).value == 0.1);
  CHECK(back.at(7).verdict == Verdict::retire);
  CHECK(back.at(7).reason == "a copy");
}

TEST_CASE("state: what no selector wrote is refused", "[selectors][state]") {
  json rows = rows_to_json({.dimension = 2, .values = {1, 2, 3, 4}});
  rows["dimension"] = 3;
  CHECK_THROWS_AS(rows_from_json(rows), DataCorruption);
  rows["dimension"] = 0;
  CHECK_THROWS_AS(rows_from_json(rows), DataCorruption);
  json outcomes = outcomes_to_json({{3, {0.1, Verdict::rank, {}}}});
  outcomes[0][2] = 9;
  CHECK_THROWS_AS(outcomes_from_json(outcomes), DataCorruption);
  CHECK_THROWS_AS(unpack_state("no state", "d4", [](const json&) {}), DataCorruption);
}

}  // namespace alluvium::selectors
