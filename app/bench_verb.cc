// alluvium bench: everything after it belongs to the bench room, its --help too.
#include <string>
#include <vector>

#include "alluvium/experiments/bench.h"
#include "verbs.h"

namespace alluvium::app {

void add_bench(CLI::App& program, int& exit_code) {
  CLI::App* verb =
      program.add_subcommand("bench", "Measure quality and speed; 'bench' alone lists");
  verb->set_help_flag();
  verb->prefix_command();
  verb->callback([verb, &exit_code] { exit_code = experiments::run_bench(verb->remaining()); });
}

}  // namespace alluvium::app
