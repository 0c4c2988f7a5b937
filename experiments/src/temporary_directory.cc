#include "temporary_directory.h"

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "alluvium/core/error.h"

namespace alluvium::experiments {

TemporaryDirectory::TemporaryDirectory()
    : path_((std::filesystem::temp_directory_path() / "alluvium-bench-XXXXXX").string()) {
  if (mkdtemp(path_.data()) == nullptr) {
    throw Unavailable(fmt::format("cannot make a temporary directory like {}", path_));
  }
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace alluvium::experiments
