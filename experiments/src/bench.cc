#include "alluvium/experiments/bench.h"

#include <array>
#include <cstdio>

#include <fmt/format.h>

namespace alluvium::experiments {
namespace {

struct Bench {
  const char* name;
  const char* purpose;
  int (*run)(const std::vector<std::string>&);
};

constexpr std::array kBenches = {
    Bench{"qa", "answer quality, retrieval recall and cost on questions with known answers",
          run_qa_bench},
    Bench{"frontier", "answer quality against bytes of every way to keep keys and values",
          run_frontier_bench},
    Bench{"long", "documents of 50,000 tokens: ingest, memory, and the first token of an answer",
          run_long_document_bench},
    Bench{"crash",
          "kill a service under load and check that nothing acknowledged is lost or doubled",
          run_crash_bench},
    Bench{"soak", "very many memories, through a restart: RAM, answers, records", run_soak_bench},
    Bench{"backbone", "reading and decoding speed beside this machine's limits and other engines",
          run_backbone_bench},
    Bench{"selection", "precision and speed of the selectors, beside the packages they replace",
          run_selection_bench},
    Bench{"selection-training", "what an adapter learns from each selector's picks",
          run_selection_training_bench},
};

void list(std::FILE* to) {
  fmt::print(to, "Usage: alluvium bench NAME [OPTIONS]\n\n");
  for (const Bench& bench : kBenches) {
    fmt::print(to, "  {:<18} {}\n", bench.name, bench.purpose);
  }
  fmt::print(to, "\n'alluvium bench NAME --help' shows the options of one.\n");
}

}  // namespace

int run_bench(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    list(stderr);
    return 2;
  }
  if (arguments[0] == "--help" || arguments[0] == "-h") {
    list(stdout);
    return 0;
  }
  for (const Bench& bench : kBenches) {
    if (arguments[0] == bench.name) {
      return bench.run({arguments.begin() + 1, arguments.end()});
    }
  }
  fmt::print(stderr, "alluvium bench: there is no bench '{}'\n\n", arguments[0]);
  list(stderr);
  return 2;
}

}  // namespace alluvium::experiments
