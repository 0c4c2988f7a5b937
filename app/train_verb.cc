// alluvium train: everything after it belongs to the experiments room, its --help too.
#include <string>
#include <vector>

#include "alluvium/experiments/training.h"
#include "verbs.h"

namespace alluvium::app {

void add_train(CLI::App& program, int& exit_code) {
  CLI::App* verb = program.add_subcommand("train", "Train an adapter; 'train' alone lists");
  verb->set_help_flag();
  verb->prefix_command();
  verb->callback([verb, &exit_code] { exit_code = experiments::run_train(verb->remaining()); });
}

}  // namespace alluvium::app
