// Options every bench that runs the service shares: --config and --set.
//
// Threads: owned by one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "alluvium/service/configuration.h"

namespace CLI {
class App;
}

namespace alluvium::experiments {

class Settings {
 public:
  /// Adds the options to `app`; the object must outlive its parsing.
  void add_to(CLI::App& app);

  /// Parses; an exit code when the program should end here (help shown: 0, bad usage: 2).
  static std::optional<int> parse(CLI::App& app, const std::vector<std::string>& arguments);

  /// Defaults, then the file, then each key=value.
  service::Configuration configuration() const;

  /// As any verb of the program takes them: --config FILE, --set key=value.
  std::vector<std::string> as_arguments() const;

 private:
  std::string file_;
  std::vector<std::string> assignments_;
};

}  // namespace alluvium::experiments
