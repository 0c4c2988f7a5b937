// The curve of a training run as CSV, and as a picture.
//
// Threads: owned by the thread that trains.
#pragma once

#include <string>
#include <vector>

#include "alluvium/learners/trainer.h"

namespace alluvium::learners {

class CurveFile {
 public:
  /// Takes up the lines of <directory>/curve.csv up to `steps`, and drops later ones. An empty directory keeps nothing.
  CurveFile(const std::string& directory, int64_t steps);

  void add(const TrainingPoint& point);

  /// Writes curve.csv and draws curve.svg. Throws ResourceExhausted when the disk does not take them.
  void write() const;

  /// Seconds of training at the last line.
  double seconds() const { return points_.empty() ? 0 : points_.back().seconds; }

 private:
  std::string directory_;
  std::vector<TrainingPoint> points_;
};

}  // namespace alluvium::learners
