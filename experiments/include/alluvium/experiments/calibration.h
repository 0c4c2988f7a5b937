// alluvium calibrate: the weights by which the document to answer from is chosen, fitted on questions with known documents.
#pragma once

#include <string>
#include <vector>

namespace alluvium::experiments {

/// `arguments` without the verb; returns the program's exit code.
int run_calibrate(const std::vector<std::string>& arguments);

}  // namespace alluvium::experiments
