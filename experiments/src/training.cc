#include "alluvium/experiments/training.h"

#include <cstdio>

#include <fmt/format.h>

namespace alluvium::experiments {
namespace {

void list(std::FILE* to) {
  fmt::print(to,
             "Usage: alluvium train NAME [OPTIONS]\n\n"
             "  reader     a low-rank adapter that answers questions over memories\n"
             "  average    the mean of several readers of one ancestor\n"
             "  basis      the directions along which the kv codec stores keys and values\n"
             "\n'alluvium train NAME --help' shows the options of one.\n");
}

}  // namespace

int run_train(const std::vector<std::string>& arguments) {
  if (arguments.empty()) {
    list(stderr);
    return 2;
  }
  if (arguments[0] == "--help" || arguments[0] == "-h") {
    list(stdout);
    return 0;
  }
  if (arguments[0] == "reader") {
    return run_train_reader({arguments.begin() + 1, arguments.end()});
  }
  if (arguments[0] == "average") {
    return run_train_average({arguments.begin() + 1, arguments.end()});
  }
  if (arguments[0] == "basis") {
    return run_train_basis({arguments.begin() + 1, arguments.end()});
  }
  fmt::print(stderr, "alluvium train: there is nothing '{}' to train\n\n", arguments[0]);
  list(stderr);
  return 2;
}

}  // namespace alluvium::experiments
