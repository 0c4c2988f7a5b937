// `alluvium select` from end to end: the program itself, over files and pipes.
#include "alluvium/selectors/ranking.h"
#include "select_program.h"

namespace alluvium::tests {
namespace {

TEST_CASE("select: gives the best rows as they are, best first, from a file and from a pipe",
          "[selectors][select][service]") {
  const Bed bed(1);
  const auto selector = make_selector("zip_fit", [] {
    selectors::SelectorOptions options;
    options.mode = "ref";
    return options;
  }());
  selector->set_targets(targets_of(bed.targets));
  selectors::TopRanking top(9, 0);
  const auto scores = selector->score(samples_of(bed.texts));
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i].verdict == selectors::Verdict::rank) {
      top.add({scores[i].value, static_cast<int64_t>(i), 0, bed.pool_lines[i]});
    }
  }
  std::vector<std::string> wanted;
  for (const auto& pick : top.take()) {
    wanted.push_back(pick.line);
  }
  const Outcome file =
      bed.select("--mode ref --target {}/targets.jsonl --pool {}/pool.jsonl --top 9");
  CHECK(file.exit_code == 0);
  CHECK(lines_of(file.out) == wanted);
  CHECK_THAT(file.err, Catch::Contains("zip_fit/ref gzip-6: 9 of 600 rows picked"));
  const Outcome piped =
      bed.select("--mode ref --target {}/targets.jsonl --pool - --top 9 <{}/pool.jsonl | cat");
  CHECK(lines_of(piped.out) == wanted);
  const Outcome small =
      bed.select("--mode ref --target {}/targets.jsonl --pool {}/pool.jsonl --top 9 --batch 7");
  CHECK(lines_of(small.out) == wanted);
}

TEST_CASE("select: every selector runs, also those that read the pool twice, also from a pipe",
          "[selectors][select][service]") {
  const std::string name = GENERATE("zip_fit", "bm25", "dsir", "random", "length_matched_random");
  CAPTURE(name);
  const Bed bed(2);
  const std::string common =
      "--selector " + name +
      " --dsir-min-tokens 5 --target {}/targets.jsonl --top 20 --json --seed 3";
  const Outcome file = bed.select(common + " --pool {}/pool.jsonl");
  CHECK(file.exit_code == 0);
  const auto picks = lines_of(file.out);
  CHECK(picks.size() == 20);
  double before = 1e300;
  for (std::size_t i = 0; i < picks.size(); ++i) {
    const json pick = json::parse(picks[i]);
    CHECK(pick.at("selection").at("rank") == i + 1);
    CHECK(pick.at("selection").at("target_version") == 1);
    const double score = pick.at("selection").at("score").get<double>();
    CHECK(score <= before);
    before = score;
    const auto row = pick.at("selection").at("row").get<std::size_t>();
    CHECK(pick.at("id") == "row-" + std::to_string(row - 1));
    CHECK(pick.at("extra") == row - 1);
  }
  CHECK(bed.select(common + " --pool - <{}/pool.jsonl").out == file.out);
}

TEST_CASE("select: explains its picks", "[selectors][select][service]") {
  const Bed bed(3, 80);
  const Outcome outcome = bed.select(
      "--explain --target-version 7 --target {}/targets.jsonl --pool {}/pool.jsonl --top 1");
  const json selection = json::parse(outcome.out).at("selection");
  CHECK(selection.at("selector") == "zip_fit/two_stage gzip-6");
  CHECK(selection.at("target_version") == 7);
  CHECK_THAT(selection.at("reason").get<std::string>(), Catch::Contains("most with target"));
}

TEST_CASE("select: a quantile keeps its share of a stream, in order of arrival",
          "[selectors][select][service]") {
  const std::string mode = GENERATE("pool", "two_stage");
  CAPTURE(mode);
  const Bed bed(4, 1500);
  const Outcome outcome =
      bed.select("--mode " + mode +
                 " --target {}/targets.jsonl --pool - --quantile 0.9 --window 500 "
                 "--json <{}/pool.jsonl");
  CHECK(outcome.exit_code == 0);
  const auto picks = lines_of(outcome.out);
  CHECK(picks.size() > 75);
  CHECK(picks.size() < 225);
  std::size_t before = 0;
  for (const std::string& line : picks) {
    const auto row = json::parse(line).at("selection").at("row").get<std::size_t>();
    CHECK(row > before);
    before = row;
  }
}

TEST_CASE("select: lines that are no samples go to the dead letters, the rest is judged",
          "[selectors][select][service]") {
  Bed bed(5, 40);
  auto lines = bed.pool_lines;
  lines[3] = "not json";
  lines[7] = R"({"id": "x"})";
  lines[11] = R"({"id": "x", "text": 5})";
  lines[13] = R"({"id": "x", "text": ""})";
  lines[17] = R"({"id": [], "text": "a long enough text"})";
  lines[19] = "";
  lines[23] = "{\"id\": \"x\", \"text\": \"\xff\"}";
  bed.write("pool.jsonl", Bed::joined(lines));
  const Outcome outcome = bed.select(
      "--target {}/targets.jsonl --pool {}/pool.jsonl --top 5 --dead-letters {}/dead.jsonl");
  CHECK(outcome.exit_code == 1);
  CHECK(lines_of(outcome.out).size() == 5);
  CHECK_THAT(outcome.err, Catch::Contains("6 lines are no samples"));
  CHECK_THAT(outcome.err, Catch::Contains("pool.jsonl:4: not JSON: stops at byte 2"));
  CHECK_THAT(outcome.err, Catch::Contains("pool.jsonl:8: field 'text' is missing"));
  CHECK_THAT(outcome.err,
             Catch::Contains("pool.jsonl:12: field 'text' must be a string, got number"));
  CHECK_THAT(outcome.err, Catch::Contains("pool.jsonl:14: field 'text' is empty"));
  CHECK_THAT(outcome.err, Catch::Contains("and 1 more"));
  const auto dead = lines_of(bed.read("dead.jsonl"));
  REQUIRE(dead.size() == 6);
  CHECK(json::parse(dead[0]).at("line") == 4);
  CHECK(json::parse(dead[0]).at("content") == "not json");
  CHECK(json::parse(dead[5]).at("line") == 24);
}

TEST_CASE("select: wrong requests are named with field and bound", "[selectors][select][service]") {
  const Bed bed(6, 20);
  const auto fails = [&](const std::string& arguments, const std::string& message,
                         int exit_code = 1) {
    CAPTURE(arguments, message);
    const Outcome outcome = bed.select(arguments);
    CHECK(outcome.exit_code == exit_code);
    CHECK(outcome.out.empty());
    CHECK_THAT(outcome.err, Catch::Contains(message));
  };
  const std::string both = "--target {}/targets.jsonl --pool {}/pool.jsonl ";
  fails(both + "--top 3 --level 0", "level of gzip must be in [1, 9], got 0");
  fails(both, "one of top, budget_tokens and quantile is needed");
  fails(both + "--top 0", "--top", 2);
  fails(both + "--top 3 --quantile 0.5", "", 2);
  fails(both + "--quantile 1", "quantile must be in [0, 1), got 1");
  fails(both + "--quantile 0.5 --window 0", "window must be at least 1, got 0");
  fails(both + "--top 3 --selector zipfit", "unknown selector 'zipfit'");
  fails(both + "--top 3 --text-field body", "targets.jsonl:1: field 'body' is missing");
  fails("--pool {}/pool.jsonl --top 3", "--target is needed by selector zip_fit");
  fails("--target {}/targets.jsonl --pool {}/none.jsonl --top 3", "none.jsonl");
  bed.write("empty.jsonl", "\n");
  fails("--target {}/empty.jsonl --pool {}/pool.jsonl --top 3",
        "holds no row; at least 1 is needed");
  bed.write("hollow.jsonl", "{\"text\": \"\"}\n");
  fails("--target {}/hollow.jsonl --pool {}/pool.jsonl --top 3",
        "hollow.jsonl:1: field 'text' is empty");
}

TEST_CASE("select: more picks than rows gives all rows and says so",
          "[selectors][select][service]") {
  const Bed bed(7, 12);
  const Outcome outcome =
      bed.select("--target {}/targets.jsonl --pool {}/pool.jsonl --top 50 --min-bytes 0");
  CHECK(outcome.exit_code == 0);
  CHECK(lines_of(outcome.out).size() == 12);
  CHECK_THAT(outcome.err, Catch::Contains("--top 50 is more than the 12 rows of the pool"));
  bed.write("none.jsonl", "");
  const Outcome none = bed.select("--target {}/targets.jsonl --pool {}/none.jsonl --top 5");
  CHECK(none.exit_code == 0);
  CHECK(none.out.empty());
  CHECK_THAT(none.err, Catch::Contains("0 of 0 rows picked"));
}

TEST_CASE("select: a target that stands in the pool is not picked",
          "[selectors][select][service]") {
  Bed bed(8, 30);
  auto lines = bed.pool_lines;
  lines.push_back(json{{"id", "leak"}, {"text", bed.targets[2]}}.dump());
  bed.write("pool.jsonl", Bed::joined(lines));
  const Outcome outcome =
      bed.select("--target {}/targets.jsonl --pool {}/pool.jsonl --top 31 --min-bytes 0");
  CHECK(lines_of(outcome.out).size() == 30);
  CHECK_THAT(outcome.err, Catch::Contains("leak: is itself a target"));
}

TEST_CASE("select: dedupe passes first copies on and lists the ids to retire",
          "[selectors][select][service]") {
  Bed bed(9, 30);
  auto lines = bed.pool_lines;
  lines.push_back(json{{"id", "copy"}, {"text", bed.texts[4]}}.dump());
  bed.write("pool.jsonl", Bed::joined(lines));
  const Outcome outcome =
      bed.select("--selector dedupe --pool {}/pool.jsonl --retired {}/retired.jsonl");
  CHECK(outcome.exit_code == 0);
  CHECK(lines_of(outcome.out) == bed.pool_lines);
  const json retired = json::parse(bed.read("retired.jsonl"));
  CHECK(retired.at("id") == "copy");
  CHECK(retired.at("reason") == "exact copy of row-4");
}

TEST_CASE("select: dedupe retires what means the same, by the encoder, where it is asked to",
          "[selectors][select][service]") {
  Bed bed(9, 0);
  const std::string first = "The ferry to the island leaves the harbour at nine each morning.";
  const std::string same = "The ferry to the island leaves the harbour at nine every morning.";
  const std::string other = "Beat three eggs with sugar until the dough is white and stiff.";
  bed.write("pool.jsonl", Bed::joined({json{{"id", "a"}, {"text", first}}.dump(),
                                       json{{"id", "b"}, {"text", other}}.dump(),
                                       json{{"id", "c"}, {"text", same}}.dump()}));
  const std::string words = "--selector dedupe --pool {}/pool.jsonl";
  CHECK(lines_of(bed.select(words).out).size() == 3);
  const Outcome outcome = bed.select(words + " --dedupe-semantic 0.9 --retired {}/retired.jsonl");
  INFO(outcome.err);
  CHECK(outcome.exit_code == 0);
  CHECK(lines_of(outcome.out).size() == 2);
  const json retired = json::parse(bed.read("retired.jsonl"));
  CHECK(retired.at("id") == "c");
  CHECK_THAT(retired.at("reason").get<std::string>(), Catch::Contains("means what a does"));
  const Outcome wrong = bed.select(
      "--selector random --top 1 --pool {}/pool.jsonl "
      "--dedupe-semantic 0.9");
  CHECK(wrong.exit_code != 0);
  CHECK_THAT(wrong.err, Catch::Contains("--dedupe-semantic is of dedupe"));
}

TEST_CASE("select: budget-tokens picks whole texts up to the budget",
          "[selectors][select][service]") {
  if (!default_decoder_path()) {
    WARN("skipped: the default decoder is not installed");
    return;
  }
  const Bed bed(12, 60);
  const Outcome outcome =
      bed.select("--target {}/targets.jsonl --pool {}/pool.jsonl --budget-tokens 2000");
  CHECK(outcome.exit_code == 0);
  CHECK_FALSE(outcome.out.empty());
  const std::size_t at = outcome.err.find(" with ");
  REQUIRE(at != std::string::npos);
  const int64_t tokens = std::stoll(outcome.err.substr(at + 6));
  CHECK(tokens <= 2000);
  CHECK(tokens > 1000);
}

}  // namespace
}  // namespace alluvium::tests
