#include "alluvium/experiments/frontier_bench.h"

#include <csignal>
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include "alluvium/core/error.h"
#include "alluvium/experiments/bench.h"
#include "report.h"
#include "settings.h"

namespace alluvium::experiments {
namespace {

Row to_row(const FrontierRow& row) {
  return {{"setting", row.setting},
          {"reader", row.reader},
          {"questions", row.questions},
          {"em", row.em},
          {"f1", row.f1},
          {"f1_low", row.f1_low},
          {"f1_high", row.f1_high},
          {"of_text", row.of_text},
          {"of_text_low", row.of_text_low},
          {"of_text_high", row.of_text_high},
          {"nll", row.nll},
          {"kl", row.kl},
          {"bytes_per_document", row.bytes_per_document},
          {"bytes_per_token", row.bytes_per_token},
          {"share_of_16_bit", row.share_of_16_bit},
          {"first_token_ms_p50", row.first_token_ms_p50},
          {"ingest_ms_p50", row.ingest_ms_p50}};
}

volatile std::sig_atomic_t caught = 0;

/// While it lives, the first SIGINT or SIGTERM is kept in `caught`, the second ends the program.
class EndsBetweenDocuments {
 public:
  EndsBetweenDocuments() {
    struct sigaction action {};
    action.sa_handler = [](int signal) { caught = signal; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(SIGINT, &action, &interrupt_);
    sigaction(SIGTERM, &action, &terminate_);
  }
  ~EndsBetweenDocuments() {
    sigaction(SIGINT, &interrupt_, nullptr);
    sigaction(SIGTERM, &terminate_, nullptr);
  }
  EndsBetweenDocuments(const EndsBetweenDocuments&) = delete;
  EndsBetweenDocuments& operator=(const EndsBetweenDocuments&) = delete;

 private:
  struct sigaction interrupt_ {};
  struct sigaction terminate_ {};
};

/// "2/5": the second of five.
void parse_shard(const std::string& text, FrontierOptions& options) {
  int used = 0;
  const bool is_shard =
      std::sscanf(text.c_str(), "%ld/%ld%n", &options.shard, &options.shards, &used) == 2 &&
      static_cast<std::size_t>(used) == text.size();
  ALLUVIUM_CHECK(is_shard, "--shard is I/N, as 2/5 for the second of five, got '{}'", text);
  --options.shard;
}

}  // namespace

int run_frontier_bench(const std::vector<std::string>& arguments) {
  FrontierOptions options;
  std::string grid = "presets";
  std::vector<std::string> extra;
  std::vector<std::string> readers = {"none"};
  Settings settings;
  CLI::App app("Answer quality against bytes: every way to keep a document's keys and values.",
               "alluvium bench frontier");
  app.add_option("--documents", options.documents, "JSON lines: id, title, text")->required();
  app.add_option("--questions", options.questions, "JSON lines: id, question, answers, doc_id")
      ->required();
  app.add_option("--grid", grid, "presets, small, full, or none (--setting alone)");
  app.add_option("--setting", extra,
                 "one more: preset=,keep=,observer=,budget=,key_bits=,value_bits=,key_channels=,"
                 "boundary_bits=,key_group=,scale_bits=,merge=,residual_rank=,"
                 "tail_bits=,quantiser=,key_step=,value_step=,entropy=; repeatable");
  app.add_option("--reader", readers,
                 "none or an adapter's directory; every setting is asked with each; "
                 "reader.refuse_above decides, as in the service, whether it answers")
      ->delimiter(',');
  app.add_option("--limit", options.limit, "questions asked, drawn by the seed; 0 = all");
  app.add_option("--seed", options.seed, "of the draw");
  std::string shard = "1/1";
  app.add_option(
      "--shard", shard,
      "I/N: a part of the documents, in a directory of its own; the same command without "
      "it over the joined answers.jsonl of all parts writes the tables");
  app.add_option("--out", options.directory,
                 "directory of the results; a run that was interrupted (its tables are of what was "
                 "answered until then) goes on there")
      ->required();
  settings.add_to(app);
  if (const auto exit_code = settings.parse(app, arguments)) {
    return *exit_code;
  }
  options.configuration = settings.configuration();
  if (grid != "none") {
    options.settings = frontier_grid(grid);
  }
  for (const std::string& text : extra) {
    options.settings.push_back(parse_frontier_setting(text));
  }
  ALLUVIUM_CHECK(!options.settings.empty(), "--grid none needs a --setting");
  options.settings = with_readers(options.settings, readers);
  parse_shard(shard, options);

  const EndsBetweenDocuments ends;
  caught = 0;
  options.stop = [] { return caught != 0; };
  const FrontierResult measured = measure_frontier(options);
  if (measured.answered == 0) {
    fmt::print(stderr, "ended before a question was answered under every setting\n");
    return 128 + caught;
  }
  const auto rows =
      summarise_frontier(options.settings, measured.answers, measured.bytes_per_token_16_bit);
  std::vector<Row> table;
  for (const FrontierRow& row : rows) {
    table.push_back(to_row(row));
  }
  Row report = describe_run("frontier", arguments);
  report["device"] = measured.device;
  report["dtype"] = measured.dtype;
  report["threads"] = measured.threads;
  report["seed"] = options.seed;
  if (measured.answered < measured.drawn) {
    report["questions_drawn"] = measured.drawn;
  }
  report["rows"] = table;
  const std::string markdown = to_markdown(table);
  write_json(options.directory + "/frontier.json", report);
  write_text(options.directory + "/frontier.csv", to_csv(table));
  write_text(options.directory + "/frontier.md", markdown);
  write_text(options.directory + "/frontier.svg", plot_frontier(rows));
  std::fputs(markdown.c_str(), stdout);
  if (measured.answered < measured.drawn) {
    fmt::print(stderr, "ended after {} of {} questions; the same command goes on\n",
               measured.answered, measured.drawn);
    return 128 + caught;
  }
  return 0;
}

}  // namespace alluvium::experiments
