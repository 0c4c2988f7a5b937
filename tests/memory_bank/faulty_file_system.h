// The machine's files with a disk that can be filled and a device that can fail.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "file_system.h"

namespace alluvium::tests {

/// What goes wrong next.
struct DiskFaults {
  int64_t bytes_left =
      -1;  ///< writes past this many more bytes are cut short and fail; -1 = no limit
  int64_t syncs_to_fail = 0;  ///< the next this many syncs fail
};

class FaultyFileSystem final : public memory_bank::FileSystem {
 public:
  DiskFaults faults;

  std::unique_ptr<memory_bank::File> open(const std::string& path,
                                          memory_bank::Access access) override;
  std::unique_ptr<memory_bank::File> create(const std::string& path) override;
  void remove(const std::string& path) override;
  std::vector<std::string> list(const std::string& directory) const override;
  void make_directory(const std::string& path) override;
};

}  // namespace alluvium::tests
