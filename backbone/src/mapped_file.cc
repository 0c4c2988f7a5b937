#include "mapped_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alluvium/core/error.h"

namespace alluvium::backbone {
namespace {

// Closes the descriptor at the end of the constructor; the mapping outlives it.
struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) {
      close(value);
    }
  }
};

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  ALLUVIUM_CHECK(file.value >= 0, "cannot open '{}': {}", path, std::strerror(errno));
  struct stat status {};
  ALLUVIUM_CHECK(fstat(file.value, &status) == 0, "cannot stat '{}': {}", path,
                 std::strerror(errno));
  ALLUVIUM_CHECK(S_ISREG(status.st_mode), "'{}' is not a regular file", path);
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ == 0) {
    return;
  }
  void* const bytes = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.value, 0);
  ALLUVIUM_CHECK(bytes != MAP_FAILED, "cannot map '{}' ({} bytes): {}", path, size_,
                 std::strerror(errno));
  data_ = static_cast<const std::byte*>(bytes);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    munmap(const_cast<std::byte*>(data_), size_);
  }
}

}  // namespace alluvium::backbone
