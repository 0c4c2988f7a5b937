#include "alluvium/service/selection_rounds.h"

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/store.h"
#include "support/catch.h"
#include "support/made_up_scorer.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using selectors::AdaptInf;
using selectors::AdaptInfOptions;
using service::RoundOfLogReport;
using service::SelectionOptions;

std::string row(const std::string& id, const std::string& text) {
  return nlohmann::json{{"id", id}, {"text", text}}.dump();
}

struct Log {
  Log() : store(memory_bank::Store::open(directory / "store")) {
    options.pool = directory / "pool.jsonl";
    options.out = directory / "out.jsonl";
    options.retired = directory / "retired.jsonl";
    options.top = 20;
    options.batch_rows = 50;
  }

  void pool(const std::vector<std::string>& rows) const {
    std::ofstream file(options.pool);
    for (const std::string& line : rows) {
      file << line << "\n";
    }
  }

  RoundOfLogReport play(int64_t calls = -1) {
    MadeUpScorer scorer;
    scorer.calls_left_ = calls;
    AdaptInf rounds({.clusters = 3, .capacity = capacity, .seed = 5}, scorer, nullptr);
    return service::run_round_of_log(rounds, store->samples(), options, nullptr);
  }

  std::string read(const std::string& path) const {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  std::string out() const { return read(options.out); }

  TemporaryDirectory directory;
  std::unique_ptr<memory_bank::Store> store;
  SelectionOptions options;
  int64_t capacity = 20'000;
};

std::vector<std::string> skills(int first, int count) {
  std::vector<std::string> rows;
  for (int i = first; i < first + count; ++i) {
    rows.push_back(row(fmt::format("r{}", i), fmt::format("{} number {}", i % 3, i)));
  }
  return rows;
}

int64_t lines_of(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

}  // namespace

TEST_CASE("sample log rounds: each brings new rows and chooses of everything that ever came",
          "[service][adapt_inf][samples]") {
  Log log;
  std::vector<std::string> rows = skills(0, 150);
  rows.push_back(row("unlearnable", "bad"));
  rows.push_back(row("copy", "0 number 0"));
  rows.push_back("no json");
  log.pool(rows);
  const RoundOfLogReport first = log.play();
  CHECK(first.round == 1);
  CHECK(first.selection.rows == 152);
  CHECK(first.selection.bad == 1);
  CHECK(first.selection.refused == 1);
  CHECK(first.selection.retired == 1);
  CHECK(first.known == 0);
  CHECK(first.scored == 152);
  CHECK(first.pool == 150);
  CHECK(first.selection.picked == 20);
  CHECK(lines_of(log.out()) == 20);
  CHECK_THAT(log.read(log.options.retired), Catch::Contains("copy"));

  rows = skills(140, 40);
  rows.push_back(row("copy", "0 number 0"));
  log.pool(rows);
  const RoundOfLogReport second = log.play();
  CHECK(second.round == 2);
  CHECK(second.known == 11);
  CHECK(second.scored == 30 + 20);  // new ones and the last picks
  CHECK(second.pool == 180);
  std::istringstream picks(log.out());
  std::set<std::string> ids;
  for (std::string line; std::getline(picks, line);) {
    ids.insert(nlohmann::json::parse(line).at("id").get<std::string>());
  }
  CHECK(ids.size() == 20);
}

TEST_CASE("sample log rounds: cut at any moment and started again, the picks are the same",
          "[service][adapt_inf][samples][property]") {
  Log whole;
  whole.pool(skills(0, 200));
  whole.play();
  const std::string wanted = whole.out();
  REQUIRE(lines_of(wanted) == 20);
  for (int calls = 0; calls < 4; ++calls) {
    CAPTURE(calls);
    Log cut;
    cut.pool(skills(0, 200));
    CHECK_THROWS_AS(cut.play(calls), Unavailable);
    cut.store.reset();
    cut.store = memory_bank::Store::open(cut.directory / "store");
    const RoundOfLogReport report = cut.play();
    CHECK(report.resumed);
    CHECK(report.round == 1);
    CHECK(report.known == 200);
    CHECK(cut.out() == wanted);
  }
}

TEST_CASE("sample log rounds: picks that could not be written are given out by the next run",
          "[service][adapt_inf][samples]") {
  Log log;
  log.pool(skills(0, 90));
  const std::string good = log.options.out;
  log.options.out = "/dev/full";
  CHECK_THROWS_AS(log.play(), Unavailable);
  log.options.out = good;
  const RoundOfLogReport report = log.play();
  CHECK(report.resumed);
  CHECK(report.round == 1);
  CHECK(report.selection.picked == 20);
  CHECK(lines_of(log.out()) == 20);
  CHECK(log.play().round == 2);
}

TEST_CASE(
    "sample log rounds: more than the capacity leaves before the next round, large clusters first",
    "[service][adapt_inf][samples]") {
  Log log;
  log.capacity = 60;
  std::vector<std::string> rows = skills(0, 30);
  for (int i = 0; i < 90; ++i) {
    rows.push_back(row(fmt::format("more{}", i), fmt::format("0 again {}", i)));
  }
  log.pool(rows);
  CHECK(log.play().pool == 120);
  log.pool(skills(0, 3));
  const RoundOfLogReport second = log.play();
  CHECK(second.pool == 60);
  CHECK(second.selection.retired == 60);
  std::map<char, int> left;
  log.store->samples().each([&](const memory_bank::LoggedSample& sample) {
    ++left[nlohmann::json::parse(sample.content).at("text").get<std::string>()[0]];
  });
  CHECK(left['1'] == 10);
  CHECK(left['2'] == 10);
  CHECK(left['0'] == 40);
}

TEST_CASE(
    "sample log rounds: rows without an id are known by their content; other settings are refused",
    "[service][adapt_inf][samples]") {
  Log log;
  log.pool({R"({"text": "0 a"})", R"({"text": "1 b"})", R"({"text": "0 a"})"});
  CHECK(log.play().known == 1);
  CHECK(log.play().known == 3);

  MadeUpScorer scorer;
  AdaptInf other({.clusters = 4, .seed = 5}, scorer, nullptr);
  CHECK_THROWS_AS(service::run_round_of_log(other, log.store->samples(), log.options, nullptr),
                  DataCorruption);
  log.options.top = 0;
  CHECK_THROWS_AS(log.play(), InvalidArgument);
}

}  // namespace alluvium::tests
