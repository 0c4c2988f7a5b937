// `alluvium select` from end to end: the program itself, over files and pipes.
#include <array>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "alluvium/selectors/ranking.h"
#include "support/catch.h"
#include "support/checkpoint_writers.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"
#include "texts.h"

namespace alluvium::tests {
namespace {

using nlohmann::json;

struct Outcome {
  int exit_code = -1;
  std::string out;
  std::string err;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

void write_all(int descriptor, const std::string& text) {
  for (std::size_t written = 0; written < text.size();) {
    const ssize_t n = ::write(descriptor, text.data() + written, text.size() - written);
    REQUIRE(n > 0);
    written += static_cast<std::size_t>(n);
  }
}

// The program as a child whose standard input is ours to write. Killed with the object.
class Child {
 public:
  explicit Child(const std::vector<std::string>& arguments) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    child_ = fork();
    if (child_ == 0) {
      dup2(ends[0], STDIN_FILENO);
      close(ends[0]);
      close(ends[1]);
      std::vector<char*> raw;
      for (const std::string& argument : arguments) {
        raw.push_back(const_cast<char*>(argument.c_str()));
      }
      raw.push_back(nullptr);
      execv(ALLUVIUM_PROGRAM, raw.data());
      _exit(127);
    }
    close(ends[0]);
    input_ = ends[1];
  }
  ~Child() {
    close(input_);
    end();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int input() const { return input_; }

  bool is_running() {
    has_ended_ = has_ended_ || waitpid(child_, nullptr, WNOHANG) == child_;
    return !has_ended_;
  }

  // The end to write of a named pipe, once the program reads the other.
  int open_pipe(const std::string& path) {
    int descriptor = -1;
    while ((descriptor = open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0 &&
           is_running()) {
      usleep(2000);
    }
    REQUIRE(descriptor >= 0);
    REQUIRE(fcntl(descriptor, F_SETFL, 0) == 0);
    return descriptor;
  }

  void kill_when_there_is(const std::string& file) {
    while (!std::filesystem::exists(file) && is_running()) {
      usleep(2000);
    }
    CHECK(is_running());
    CHECK(std::filesystem::exists(file));
    end();
  }

  void wait_until_input_is_read() {
    int unread = 1;
    while (ioctl(input_, FIONREAD, &unread) == 0 && unread > 0 && is_running()) {
      usleep(2000);
    }
    REQUIRE(is_running());
  }

  // Bytes resident at most until now.
  int64_t peak_resident_bytes() const {
    std::ifstream file("/proc/" + std::to_string(child_) + "/status");
    int64_t kilobytes = 0;
    for (std::string name; file >> name;) {
      if (name == "VmHWM:") {
        file >> kilobytes;
      }
    }
    REQUIRE(kilobytes > 0);
    return 1024 * kilobytes;
  }

 private:
  void end() {
    if (is_running()) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
      has_ended_ = true;
    }
  }

  pid_t child_ = -1;
  int input_ = -1;
  bool has_ended_ = false;
};

// A pool, its targets, and a place for what the program writes.
class Bed {
 public:
  explicit Bed(uint64_t seed, int rows = 600) {
    Random random(seed);
    for (int i = 0; i < rows; ++i) {
      texts.push_back(babble(random, 80 + random.below(700), 30 + 40 * random.below(8)));
      pool_lines.push_back(
          json{{"id", "row-" + std::to_string(i)}, {"text", texts.back()}, {"extra", i}}.dump());
    }
    for (int j = 0; j < 6; ++j) {
      targets.push_back(babble(random, 400, 50));
    }
    write("pool.jsonl", joined(pool_lines));
    std::vector<std::string> target_lines;
    for (const std::string& target : targets) {
      target_lines.push_back(json{{"text", target}}.dump());
    }
    write("targets.jsonl", joined(target_lines));
  }

  static std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) {
      text += line + "\n";
    }
    return text;
  }

  void write(const std::string& name, const std::string& text) const {
    write_file(directory / name, text);
  }
  std::string read(const std::string& name) const { return read_file(directory / name); }
  bool has(const std::string& name) const { return std::filesystem::exists(directory / name); }

  // With the directory for each {}.
  std::string filled(std::string text) const {
    for (std::size_t at; (at = text.find("{}")) != std::string::npos;) {
      text.replace(at, 2, directory.path());
    }
    return text;
  }

  // `arguments` may use shell redirection; {} is the directory.
  Outcome select(const std::string& arguments) const {
    const std::string command = std::string(ALLUVIUM_PROGRAM) + " select --threads 2 " +
                                filled(arguments) + " 2>" + (directory / "err");
    std::FILE* pipe = popen(command.c_str(), "r");
    REQUIRE(pipe != nullptr);
    Outcome outcome;
    std::array<char, 4096> buffer{};
    while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
      outcome.out.append(buffer.data(), n);
    }
    const int status = pclose(pipe);
    outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    outcome.err = read("err");
    return outcome;
  }

  // `arguments` parted by single spaces, as select() would run them.
  Child start(const std::string& arguments) const {
    std::istringstream words("alluvium select --threads 2 " + filled(arguments));
    return Child({std::istream_iterator<std::string>(words), {}});
  }

  void write_rows(int descriptor, std::size_t rows) const {
    write_all(descriptor,
              joined({pool_lines.begin(), pool_lines.begin() + static_cast<std::ptrdiff_t>(rows)}));
  }

  // Starts the program on a pipe, writes the first `rows` rows of the pool and kills it once a checkpoint is there.
  void start_and_kill(const std::string& arguments, std::size_t rows) const {
    Child child = start(arguments);
    write_rows(child.input(), rows);
    child.kill_when_there_is(directory / "state/selection.state");
  }

  TemporaryDirectory directory;
  std::vector<std::string> texts;
  std::vector<std::string> pool_lines;
  std::vector<std::string> targets;
};

TEST_CASE("select: less reads questions and answers, and says what it cannot learn from",
          "[selectors][service]") {
  const Bed bed(1, 1);
  const std::string model = write_tiny_llama_gguf(bed.directory.path(), 7);
  std::vector<std::string> pool;
  for (int i = 0; i < 8; ++i) {
    const json answers = json::array({std::to_string(i)});
    pool.push_back(json{{"id", i}, {"question", "how old is it"}, {"answers", answers}}.dump());
  }
  pool.push_back(json{{"id", "plain"}, {"text", "It rained all day and all night."}}.dump());
  pool.push_back(
      json{{"id", "unanswered"}, {"question", "why"}, {"answers", json::array()}}.dump());
  pool.push_back(json{{"id", "odd"}, {"question", 5}}.dump());
  bed.write("pool.jsonl", Bed::joined(pool));
  bed.write("targets.jsonl",
            Bed::joined({json{{"prompt", "how old is it "}, {"answer", "3"}}.dump()}));
  const std::string decoder = " --set models.decoder=" + model;
  const Outcome less = bed.select(
      "--selector less --top 20 --explain --target {}/targets.jsonl --pool {}/pool.jsonl" +
      decoder);
  CAPTURE(less.err);
  CHECK(less.exit_code == 1);  // one line is no sample
  CHECK(lines_of(less.out).size() == 9);
  CHECK(less.out.find("mean cosine to the targets' gradients") != std::string::npos);
  CHECK(less.err.find("unanswered: has no answer tokens") != std::string::npos);
  CHECK(less.err.find("field 'question' must be a string") != std::string::npos);

  const Outcome budget =
      bed.select("--selector adapt_inf --budget-tokens 10 --pool {}/pool.jsonl" + decoder);
  CHECK(budget.exit_code != 0);
  CHECK(budget.err.find("--top is needed") != std::string::npos);
}

// A PEFT adapter of the tiny model: one column on the attention's output, all of one value.
void write_adapter(const std::string& directory, float value) {
  constexpr int64_t kWidth = TinyLlama::kModelWidth;
  const std::string numbers = bytes_of(std::vector<float>(kWidth, value));
  const std::string factor = "base_model.model.model.layers.0.self_attn.o_proj.lora_";
  std::filesystem::create_directories(directory);
  write_file(directory + "/adapter_model.safetensors",
             safetensors_bytes({{factor + "A.weight", "F32", {1, kWidth}, numbers},
                                {factor + "B.weight", "F32", {kWidth, 1}, numbers}}));
  write_file(directory + "/adapter_config.json",
             json{{"peft_type", "LORA"}, {"r", 1}, {"lora_alpha", 1}}.dump());
}

TEST_CASE("select: with an adapter that is not finite every row is refused and says why",
          "[selectors][service][slow]") {
  const Bed bed(1, 1);
  const std::string model = write_tiny_llama_gguf(bed.directory.path(), 7);
  write_adapter(bed.directory / "sound", 0.01F);
  write_adapter(bed.directory / "broken", std::numeric_limits<float>::quiet_NaN());
  std::vector<std::string> pool;
  for (int i = 0; i < 5; ++i) {
    pool.push_back(
        json{{"id", i}, {"prompt", "how old is it "}, {"answer", std::to_string(i)}}.dump());
  }
  bed.write("pool.jsonl", Bed::joined(pool));
  const std::string common =
      "--top 5 --pool {}/pool.jsonl --set models.decoder=" + model + " --adapter {}/";
  const std::string less = "--selector less --target {}/targets.jsonl ";
  CHECK(lines_of(bed.select(less + common + "sound").out).size() == 5);
  const Outcome no_target = bed.select(less + common + "broken");
  CHECK(no_target.exit_code == 1);
  CHECK(no_target.out.empty());
  CHECK_THAT(no_target.err, Catch::Contains("no target gives a gradient; the first: its loss or "
                                            "gradient is not finite"));
  if (!default_encoder_path()) {
    WARN("skipped: the default encoder is not installed");
    return;
  }
  const std::string adapt_inf = "--selector adapt_inf --clusters 1 --semantic-duplicate 1 ";
  CHECK(lines_of(bed.select(adapt_inf + common + "sound").out).size() == 5);
  const Outcome no_row = bed.select(adapt_inf + common + "broken");
  CAPTURE(no_row.err);
  CHECK(no_row.exit_code == 0);
  CHECK(no_row.out.empty());
  CHECK_THAT(no_row.err, Catch::Contains("0 of 5 rows picked"));
  CHECK_THAT(no_row.err, Catch::Contains("5 rows were refused, the first: 0: its loss or gradient "
                                         "is not finite"));
}

TEST_CASE("select: adapt_inf with the default models, over a pool and round by round over a log",
          "[selectors][service][slow]") {
  if (!default_decoder_path() || !default_encoder_path()) {
    WARN("skipped: the default models are not installed");
    return;
  }
  const Bed bed(1, 1);
  const auto asked = [](int i) {
    return json{{"id", i},
                {"question", "How old is the bridge of village " + std::to_string(i) + "?"},
                {"context", "The bridge of village " + std::to_string(i) + " was built " +
                                std::to_string(100 + 7 * i) + " years ago."},
                {"answers", json::array({std::to_string(100 + 7 * i) + " years"})}}
        .dump();
  };
  std::vector<std::string> pool;
  for (int i = 0; i < 8; ++i) {
    pool.push_back(asked(i));
  }
  pool.push_back(json{{"id", "same"}, {"text", "It rained all day and all night."}}.dump());
  pool.push_back(json{{"id", "copy"}, {"text", "It rained all day and all night."}}.dump());
  bed.write("pool.jsonl", Bed::joined(pool));
  const std::string common = "--selector adapt_inf --clusters 2 --top 3 --explain --pool ";
  const Outcome once = bed.select(common + "{}/pool.jsonl --semantic-duplicate 0.999");
  CAPTURE(once.err);
  CHECK(once.exit_code == 0);
  REQUIRE(lines_of(once.out).size() == 3);
  CHECK(once.out.find("picked) by ") != std::string::npos);

  const std::string round = common + "{}/pool.jsonl --log {}/log --semantic-duplicate 0.999";
  const Outcome first = bed.select(round);
  CAPTURE(first.err);
  CHECK(first.exit_code == 0);
  REQUIRE(lines_of(first.out).size() == 3);
  CHECK(json::parse(lines_of(first.out)[0]).at("selection").at("round") == 1);
  CHECK(first.err.find("9 samples in the log") != std::string::npos);
  bed.write("pool.jsonl", Bed::joined({asked(3), asked(20)}));
  const Outcome second = bed.select(round);
  CHECK(second.exit_code == 0);
  CHECK(second.err.find("round 2: 3 picked; 2 rows came, 1 of them known") != std::string::npos);

  const Outcome wrong = bed.select("--selector random --top 1 --pool {}/pool.jsonl --log {}/log");
  CHECK(wrong.exit_code == 1);
  CHECK(wrong.err.find("--log is of adapt_inf") != std::string::npos);
  const Outcome less = bed.select(
      "--selector less --top 1 --target {}/pool.jsonl --pool {}/pool.jsonl --memories {}/log");
  CHECK(less.exit_code == 1);
  CHECK(less.err.find("--memories is of adapt_inf") != std::string::npos);
}

}  // namespace

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

}  // namespace alluvium::tests
