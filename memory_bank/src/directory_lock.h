// One writer a directory.
//
// Purpose: flock() on <directory>/LOCK, which the kernel lets go when the process ends in any way;
//          the file holds the owner's process id.
// Threads: immutable.
#pragma once

#include <string>

namespace alluvium::memory_bank {

class DirectoryLock {
 public:
  /// Throws Unavailable naming the other process when the directory is locked, InvalidArgument when
  /// it cannot be written.
  explicit DirectoryLock(const std::string& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace alluvium::memory_bank
