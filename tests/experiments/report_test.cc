#include "report.h"

#include <filesystem>
#include <fstream>

#include "alluvium/core/error.h"
#include "percentile.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using Catch::Matchers::WithinAbs;
using experiments::percentile;
using experiments::Row;

TEST_CASE("percentile: linear between neighbours", "[experiments]") {
  CHECK(percentile({}, 0.5) == 0);
  CHECK(percentile({7}, 0.99) == 7);
  CHECK_THAT(percentile({4, 1, 3, 2}, 0.5), WithinAbs(2.5, 1e-12));
  CHECK(percentile({4, 1, 3, 2}, 0) == 1);
  CHECK(percentile({4, 1, 3, 2}, 1) == 4);
}

TEST_CASE("to_markdown: columns follow the first row, numbers stand right", "[experiments]") {
  const std::vector<Row> rows = {{{"codec", "kv"}, {"f1", 35.84}, {"top_k", 1}},
                                 {{"codec", "text"}, {"f1", 0.25}, {"top_k", 3}}};
  CHECK(
      experiments::to_markdown(rows) ==
      "| codec | f1 | top_k |\n| --- | ---: | ---: |\n| kv | 35.8 | 1 |\n| text | 0.2500 | 3 |\n");
  CHECK(experiments::to_markdown({}).empty());
}

TEST_CASE("describe_run: the command can be run again", "[experiments]") {
  const Row run = experiments::describe_run("qa", {"--documents", "my docs.jsonl", "--limit", "3"});
  CHECK(run.at("command") == "alluvium bench qa --documents 'my docs.jsonl' --limit 3");
  CHECK_FALSE(run.at("commit").get<std::string>().empty());
}

TEST_CASE("write_json: the file is whole or not there", "[experiments]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "result.json";
  experiments::write_json(path, {{"rows", {{{"em", 27.5}}}}});
  std::ifstream file(path);
  CHECK(Row::parse(file).at("rows").at(0).at("em") == 27.5);
  CHECK_THROWS_AS(experiments::write_json(directory / "no/such/place.json", {}), InvalidArgument);
  CHECK_FALSE(std::filesystem::exists(directory / "no"));
}

}  // namespace
TEST_CASE("report: CSV has the columns of all rows, strings quoted and nulls empty",
          "[experiments][report]") {
  CHECK(experiments::to_csv({{{"name", "a,b"}, {"f1", 1.5}}, {{"name", nullptr}, {"em", 2}}}) ==
        "name,f1,em\n\"a,b\",1.5,\n,,2\n");
  CHECK(experiments::to_csv({}) == "\n");
  CHECK_THROWS_AS(experiments::write_text("no/such/directory/file.csv", "x"), InvalidArgument);
}

}  // namespace alluvium::tests
