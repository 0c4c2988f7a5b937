// alluvium train: adapters and bases that are fitted to data.
//
// Threads: owned by one thread.
#pragma once

#include <string>
#include <vector>

namespace alluvium::experiments {

/// `arguments` is what follows the verb. Returns the exit code: 0 done, 1 failed, 2 usage.
int run_train(const std::vector<std::string>& arguments);

/// train reader.
int run_train_reader(const std::vector<std::string>& arguments);

/// train average.
int run_train_average(const std::vector<std::string>& arguments);

/// train basis.
int run_train_basis(const std::vector<std::string>& arguments);

}  // namespace alluvium::experiments
