// Curves with ranges as SVG.
//
// Threads: pure function.
#pragma once

#include <string>
#include <vector>

namespace alluvium::experiments {

struct ChartPoint {
  double x = 0;
  double y = 0;
  double low = 0;  ///< of the range drawn as a bar
  double high = 0;
};

struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;  ///< by x
};

/// Linear axes over all points; one colour a series, named at the right.
std::string plot_lines(const std::string& title, const std::string& x_label,
                       const std::string& y_label, const std::vector<ChartSeries>& series);

}  // namespace alluvium::experiments
