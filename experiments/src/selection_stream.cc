#include "selection_stream.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

#include <fmt/format.h>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/streams/line_reader.h"
#include "child_process.h"
#include "progress_bar.h"

namespace alluvium::experiments {
namespace {

namespace fs = std::filesystem;

constexpr auto kPoll = std::chrono::milliseconds(5);

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

int64_t count_lines(const std::string& path) {
  streams::LineReader reader(streams::open_file_input(path), /*limit_bytes=*/1);
  int64_t lines = 0;
  while (reader.next()) {
    ++lines;
  }
  return lines;
}

// The number after `words` in a log; 0 when they are not there.
int64_t number_after(const std::string& log, const std::string& words) {
  const std::size_t at = log.find(words);
  return at == std::string::npos ? 0 : std::strtoll(log.c_str() + at + words.size(), nullptr, 10);
}

class Measure {
 public:
  explicit Measure(const SelectionStreamOptions& options)
      : options_(options), targets_(options.directory + "/targets.jsonl") {
    std::vector<Row> rows;
    for (const std::string& text : options.targets) {
      rows.push_back({{"text", text}});
    }
    write_json_lines(targets_, rows);
    report_.rows = count_lines(options.pool);
    report_.pool_bytes = static_cast<int64_t>(fs::file_size(options.pool));
  }

  SelectionStreamReport run() {
    const std::string whole = options_.directory + "/whole";
    const std::string parts = options_.directory + "/parts";
    const std::string checkpoint = parts + ".state/selection.state";
    report_.uninterrupted = to_end("select", whole, whole + ".log");
    kill_at(checkpoint, parts);
    report_.checkpoint_bytes = static_cast<int64_t>(fs::file_size(checkpoint));
    const std::string log = parts + ".log";
    report_.gone_on = to_end("select, gone on", parts, log);
    report_.gone_on_at_row = number_after(read_file(log), "gone on at row ");
    const std::string picks = read_file(whole + ".jsonl");
    report_.picked = std::count(picks.begin(), picks.end(), '\n');
    report_.same_output = picks == read_file(parts + ".jsonl");
    return report_;
  }

 private:
  ChildProcess start(const std::string& name, const std::string& log) const {
    return ChildProcess(
        {options_.program.empty() ? own_program() : options_.program, "select", "--target",
         targets_, "--pool", options_.pool, "--top", std::to_string(options_.top), "--threads",
         std::to_string(options_.threads), "--json", "--out", name + ".jsonl", "--state",
         name + ".state", "--checkpoint-rows", std::to_string(options_.checkpoint_rows)},
        log);
  }

  // Until the child has ended or `is_enough`, with progress by what it has read of the pool.
  SelectionRun follow(ChildProcess& child, const std::string& label,
                      const std::function<bool()>& is_enough) {
    const Stopwatch watch;
    ProgressBar bar(label, report_.rows);
    int64_t shown = 0;
    while (child.is_running() && !is_enough()) {
      const double read = static_cast<double>(child.bytes_read_of(options_.pool)) /
                          static_cast<double>(report_.pool_bytes);
      const auto rows = static_cast<int64_t>(read * static_cast<double>(report_.rows));
      bar.advance(std::max<int64_t>(rows - shown, 0));
      shown = std::max(rows, shown);
      std::this_thread::sleep_for(kPoll);
    }
    SelectionRun run;
    run.seconds = watch.elapsed_ms() / 1e3;
    return run;
  }

  static void add_use(const ChildProcess& child, SelectionRun& run) {
    run.processor_seconds = child.processor_seconds();
    run.peak_rss_bytes = child.peak_rss_bytes();
  }

  SelectionRun to_end(const std::string& label, const std::string& name, const std::string& log) {
    ChildProcess child = start(name, log);
    SelectionRun run = follow(child, label, [] { return false; });
    if (child.exit_code() != 0) {
      throw Unavailable(
          fmt::format("select ended with exit code {}:\n{}", child.exit_code(), child.log_tail()));
    }
    add_use(child, run);
    return run;
  }

  void kill_at(const std::string& checkpoint, const std::string& name) {
    ChildProcess child = start(name, name + ".killed.log");
    report_.killed = follow(child, "select, to be killed", [&] { return fs::exists(checkpoint); });
    child.kill();
    add_use(child, report_.killed);
    ALLUVIUM_CHECK(fs::exists(checkpoint),
                   "the pool of {} rows must be longer than checkpoint_rows {}; select said:\n{}",
                   report_.rows, options_.checkpoint_rows, child.log_tail());
  }

  const SelectionStreamOptions& options_;
  const std::string targets_;
  SelectionStreamReport report_;
};

}  // namespace

SelectionStreamReport measure_selection_stream(const SelectionStreamOptions& options) {
  ALLUVIUM_CHECK(!options.targets.empty(), "at least one target is needed");
  return Measure(options).run();
}

void make_stream_pool(const std::string& script, const std::string& data, int64_t rows,
                      uint64_t seed, const std::string& path) {
  ALLUVIUM_CHECK(fs::exists(script), "there is no script {}", script);
  const std::string command = fmt::format(
      "python3 '{}' {} {} '{}/squad/train.docs.jsonl.gz' '{}/stream/reuters21578.jsonl.gz'", script,
      rows, seed, data, data);
  std::FILE* pipe = popen(command.c_str(), "r");
  ALLUVIUM_CHECK(pipe != nullptr, "cannot start a shell");
  std::ofstream file(path, std::ios::binary);
  ProgressBar bar("make the pool", rows);
  std::array<char, 1 << 16> buffer{};
  while (const std::size_t bytes = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    file.write(buffer.data(), static_cast<std::streamsize>(bytes));
    bar.advance(
        std::count(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(bytes), '\n'));
  }
  const int status = pclose(pipe);
  file.close();
  ALLUVIUM_CHECK(status == 0 && file.good(), "cannot make a pool at {} (status {}): {}", path,
                 status, command);
}

Row to_row(const SelectionStreamOptions& options, const SelectionStreamReport& report) {
  std::vector<Row> runs;
  const auto add = [&](const char* name, const SelectionRun& run) {
    runs.push_back({{"run", name},
                    {"seconds", run.seconds},
                    {"processor_seconds", run.processor_seconds},
                    {"peak_rss_bytes", run.peak_rss_bytes}});
  };
  add("uninterrupted", report.uninterrupted);
  add("killed after its first checkpoint", report.killed);
  add("gone on", report.gone_on);
  return {{"pool_rows", report.rows},
          {"pool_bytes", report.pool_bytes},
          {"targets", options.targets.size()},
          {"top", options.top},
          {"picked", report.picked},
          {"rows_per_s", static_cast<double>(report.rows) / report.uninterrupted.seconds},
          {"checkpoint_rows", options.checkpoint_rows},
          {"checkpoint_bytes", report.checkpoint_bytes},
          {"gone_on_at_row", report.gone_on_at_row},
          {"same_output", report.same_output},
          {"runs", runs}};
}

}  // namespace alluvium::experiments
