#include "selection_output.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "alluvium/core/error.h"

namespace alluvium::service {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 16;

}  // namespace

SelectionOutput::~SelectionOutput() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

void SelectionOutput::open_file(const std::string& path, int64_t bytes) {
  kind_ = Kind::file;
  path_ = path;
  bytes_ = bytes;
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  ALLUVIUM_CHECK(descriptor_ >= 0, "cannot write '{}': {}", path, std::strerror(errno));
  struct stat status {};
  ALLUVIUM_CHECK(::fstat(descriptor_, &status) == 0 && status.st_size >= bytes,
                 "'{}' has lost what an earlier run wrote: {} bytes, {} were there", path,
                 status.st_size, bytes);
  if (::ftruncate(descriptor_, bytes) != 0 || ::lseek(descriptor_, bytes, SEEK_SET) != bytes) {
    // A device such as /dev/null has no length to cut.
    ALLUVIUM_CHECK(!S_ISREG(status.st_mode), "cannot write '{}': {}", path, std::strerror(errno));
  }
}

void SelectionOutput::write(const std::string& line) {
  if (kind_ == Kind::off) {
    return;
  }
  write_bytes(line);
  write_bytes("\n");
}

void SelectionOutput::write_bytes(std::string_view bytes) {
  buffer_ += bytes;
  if (buffer_.size() >= kBufferBytes) {
    flush(false);
  }
}

void SelectionOutput::flush(bool durable) {
  if (kind_ == Kind::off) {
    return;
  }
  const int descriptor = kind_ == Kind::file ? descriptor_ : STDOUT_FILENO;
  std::size_t written = 0;
  while (written < buffer_.size()) {
    const ssize_t n = ::write(descriptor, buffer_.data() + written, buffer_.size() - written);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      throw Unavailable(fmt::format("cannot write {}: {}",
                                    kind_ == Kind::file ? "'" + path_ + "'" : "standard output",
                                    std::strerror(errno)));
    }
    written += static_cast<std::size_t>(n);
  }
  if (kind_ == Kind::file) {
    bytes_ += static_cast<int64_t>(written);
    // Devices and pipes cannot be synced, and need not be.
    if (durable && ::fdatasync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) {
      throw Unavailable(fmt::format("cannot write '{}': {}", path_, std::strerror(errno)));
    }
  }
  buffer_.clear();
}

}  // namespace alluvium::service
