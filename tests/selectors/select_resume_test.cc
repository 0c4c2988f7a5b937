// `alluvium select` killed and started again, and what it holds meanwhile.
#include <sys/stat.h>

#include "select_program.h"

namespace alluvium::tests {
namespace {

TEST_CASE("select: killed and started again it gives what an uninterrupted run gives",
          "[selectors][select][service]") {
  const std::string how = GENERATE(
      "--top 15 --mode two_stage", "--quantile 0.8 --mode pool", "--quantile 0.8 --selector bm25",
      "--quantile 0.8 --selector dsir --dsir-min-tokens 5", "--selector dedupe");
  CAPTURE(how);
  const Bed bed(10, 900);
  const std::string common =
      how + " --target {}/targets.jsonl --json --pool - --batch 50 --checkpoint-rows 200 ";
  const Outcome whole =
      bed.select(common + "--out {}/whole.jsonl --retired {}/whole.retired <{}/pool.jsonl");
  CHECK(whole.exit_code == 0);

  const std::string parts =
      common + "--state {}/state --out {}/parts.jsonl --retired {}/parts.retired";
  bed.start_and_kill(parts, 730);
  const Outcome rest = bed.select(parts + " <{}/pool.jsonl");
  CHECK(rest.exit_code == 0);
  CHECK_THAT(rest.err, Catch::Contains("gone on at row"));
  CHECK(bed.read("parts.jsonl") == bed.read("whole.jsonl"));
  CHECK(bed.read("parts.retired") == bed.read("whole.retired"));
  CHECK_FALSE(bed.has("state/selection.state"));
}

TEST_CASE("select: killed in either pass over its pool it goes on in that pass",
          "[selectors][select][service]") {
  const std::string selector = GENERATE("bm25", "dsir --dsir-min-tokens 5");
  const std::string pass = GENERATE("reading", "scoring");
  CAPTURE(selector, pass);
  const Bed bed(13, 900);
  const std::string common =
      "--selector " + selector +
      " --top 15 --target {}/targets.jsonl --json --batch 50 --checkpoint-rows 200 ";
  const Outcome whole = bed.select(common + "--pool {}/pool.jsonl --out {}/whole.jsonl");
  CHECK(whole.exit_code == 0);

  // A named pipe for a pool: the program waits for rows in the pass that is to be cut. What goes on reads a file of the same lines.
  const std::string pool = bed.directory / "pool.pipe";
  const std::string parts = common + "--state {}/state --out {}/parts.jsonl --pool ";
  REQUIRE(mkfifo(pool.c_str(), 0600) == 0);
  {
    Child child = bed.start(parts + pool);
    int rows = child.open_pipe(pool);
    if (pass == "scoring") {
      // The second pass opens another pipe by the same name, so that the end of the first cannot be missed.
      std::filesystem::remove(pool);
      REQUIRE(mkfifo(pool.c_str(), 0600) == 0);
      bed.write_rows(rows, 900);
      close(rows);
      rows = child.open_pipe(pool);
      REQUIRE(std::filesystem::remove(bed.directory / "state/selection.state"));
    }
    bed.write_rows(rows, 730);
    child.kill_when_there_is(bed.directory / "state/selection.state");
    close(rows);
  }
  const Outcome rest = bed.select(parts + "{}/pool.jsonl");
  CHECK(rest.exit_code == 0);
  CHECK_THAT(rest.err, Catch::Contains("gone on at row"));
  CHECK(bed.read("parts.jsonl") == bed.read("whole.jsonl"));
}

TEST_CASE("select: memory does not grow with the pool", "[selectors][select][service]") {
  const std::string how = GENERATE("--top 20", "--quantile 0.9");
  const Bed bed(14, 40);
  constexpr int kRows = 6000;
  std::size_t bytes = 0;  // of the last pool written
  const auto peak = [&](int rows, const std::string& picks) {
    Child child = bed.start(
        "--mode pool --compressor lz4 --target {}/targets.jsonl --pool - --out {}/picks " + picks);
    bytes = 0;
    for (int written = 0; written < rows; written += 1000) {
      std::string lines;
      for (int i = written; i < written + 1000; ++i) {
        const std::string& text = bed.texts[static_cast<std::size_t>(i) % bed.texts.size()];
        lines += json{{"id", i}, {"text", text.substr(0, 300)}}.dump() + "\n";
      }
      bytes += lines.size();
      write_all(child.input(), lines);
    }
    child.wait_until_input_is_read();
    return child.peak_resident_bytes();
  };
  const int64_t few = peak(kRows, how);
  const int64_t many = peak(10 * kRows, how);
  const auto pool_bytes = static_cast<int64_t>(bytes);
  CAPTURE(how, few, many, pool_bytes);
  CHECK(many - few < pool_bytes / 4);
  // With all rows for picks the pool has to be held: the measure sees it.
  CHECK(peak(10 * kRows, "--top " + std::to_string(10 * kRows)) - few > pool_bytes);
}

TEST_CASE("select: a state of another selection, of another pool or with damage is refused",
          "[selectors][select][service]") {
  const Bed bed(11, 500);
  const std::string state = bed.directory / "state/selection.state";
  const std::string common = "--target {}/targets.jsonl --state {}/state --batch 50 ";
  bed.start_and_kill(common + "--top 5 --pool - --checkpoint-rows 100", 400);
  CHECK_THAT(bed.select(common + "--top 6 --pool {}/pool.jsonl").err,
             Catch::Contains("belongs to another selection"));
  auto lines = bed.pool_lines;
  lines[0] = lines[1];
  bed.write("other.jsonl", Bed::joined(lines));
  CHECK_THAT(bed.select(common + "--top 5 --pool {}/other.jsonl").err,
             Catch::Contains("lines are not those of this pool"));
  std::string bytes = read_file(state);
  bytes[bytes.size() / 2] ^= 1;
  write_file(state, bytes);
  CHECK_THAT(bed.select(common + "--top 5 --pool {}/pool.jsonl").err,
             Catch::Contains("fails its check"));
}

}  // namespace
}  // namespace alluvium::tests
