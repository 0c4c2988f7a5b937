// A directory that goes with the object.
//
// Threads: owned by one thread.
#pragma once

#include <string>

namespace alluvium::experiments {

class TemporaryDirectory {
 public:
  /// Throws Unavailable when it cannot be made.
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace alluvium::experiments
