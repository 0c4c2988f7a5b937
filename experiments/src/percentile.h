// Order statistics of a sample.
#pragma once

#include <vector>

namespace alluvium::experiments {

/// The value below which the share `q` in [0, 1] of the sample lies, linear between neighbours; 0
/// for an empty sample.
double percentile(std::vector<double> values, double q);

double mean(const std::vector<double>& values);

}  // namespace alluvium::experiments
