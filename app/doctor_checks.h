// What can be wrong with an installation, each as one check.
//
// Threads: thread-safe functions.
#pragma once

#include <string>
#include <vector>

#include "alluvium/service/configuration.h"

namespace alluvium::app {

enum class CheckState { good, warning, bad };

const char* to_string(CheckState state);

struct Check {
  std::string name;
  CheckState state = CheckState::good;
  std::string finding;
  std::string advice;  ///< what to do; empty when good
};

Check check_decoder(const service::Configuration& configuration);
Check check_encoder(const service::Configuration& configuration);
Check check_device(const service::Configuration& configuration);
Check check_directory(const service::Configuration& configuration);
Check check_disk(const service::Configuration& configuration);
Check check_ports(const service::Configuration& configuration);
Check check_store(const service::Configuration& configuration);

}  // namespace alluvium::app
