// train, calibrate and bench: everything after the verb belongs to the experiments room, its --help too.
#include <functional>
#include <string>
#include <vector>

#include "alluvium/experiments/bench.h"
#include "alluvium/experiments/calibration.h"
#include "alluvium/experiments/training.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

void forward(CLI::App& program, int& exit_code, const std::string& name, const std::string& purpose,
             std::function<int(const std::vector<std::string>&)> run) {
  CLI::App* verb = program.add_subcommand(name, purpose);
  verb->set_help_flag();
  verb->prefix_command();
  verb->callback([verb, &exit_code, run = std::move(run)] { exit_code = run(verb->remaining()); });
}

}  // namespace

void add_train(CLI::App& program, int& exit_code) {
  forward(program, exit_code, "train", "Train an adapter; 'train' alone lists",
          experiments::run_train);
}

void add_calibrate(CLI::App& program, int& exit_code) {
  forward(program, exit_code, "calibrate",
          "Fit how one document is chosen among several, on questions of your own",
          experiments::run_calibrate);
}

void add_bench(CLI::App& program, int& exit_code) {
  forward(program, exit_code, "bench", "Measure quality and speed; 'bench' alone lists",
          experiments::run_bench);
}

}  // namespace alluvium::app
