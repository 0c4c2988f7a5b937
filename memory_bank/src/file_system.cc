#include "file_system.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

/// The one place where errno becomes an error of ours.
[[noreturn]] void throw_errno(const char* what, const std::string& path) {
  const int code = errno;
  const std::string message = fmt::format("cannot {} {}: {}", what, path, std::strerror(code));
  switch (code) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      throw ResourceExhausted(message);
    case ENOENT:
      throw DataCorruption(message);
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
      throw InvalidArgument(message);
    default:
      throw Unavailable(message);
  }
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { ::close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

int open_or_throw(const std::string& path, int flags) {
  const int number = ::open(path.c_str(), flags | O_CLOEXEC, 0640);
  if (number < 0) {
    throw_errno("open", path);
  }
  return number;
}

void sync_directory(const std::string& path) {
  const Descriptor directory(open_or_throw(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(directory.number()) != 0) {
    throw_errno("sync", path);
  }
}

class RealFile final : public File {
 public:
  RealFile(std::string path, int flags)
      : path_(std::move(path)), file_(open_or_throw(path_, flags)) {}

  void write_at(uint64_t offset, std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t written =
          ::pwrite(file_.number(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (written < 0) {
        if (errno == EINTR) {
          continue;
        }
        throw_errno("write to", path_);
      }
      bytes = bytes.subspan(static_cast<std::size_t>(written));
      offset += static_cast<uint64_t>(written);
    }
  }

  void read_at(uint64_t offset, std::span<std::byte> bytes) const override {
    while (!bytes.empty()) {
      const ssize_t got =
          ::pread(file_.number(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (got < 0) {
        if (errno == EINTR) {
          continue;
        }
        throw_errno("read", path_);
      }
      if (got == 0) {
        throw DataCorruption(
            fmt::format("{} ends at byte {}, {} more were expected", path_, offset, bytes.size()));
      }
      bytes = bytes.subspan(static_cast<std::size_t>(got));
      offset += static_cast<uint64_t>(got);
    }
  }

  void sync() override {
    if (::fdatasync(file_.number()) != 0) {
      throw_errno("sync", path_);
    }
  }

  uint64_t size() const override {
    struct stat status {};
    if (::fstat(file_.number(), &status) != 0) {
      throw_errno("examine", path_);
    }
    return static_cast<uint64_t>(status.st_size);
  }

  void truncate(uint64_t size) override {
    if (::ftruncate(file_.number(), static_cast<off_t>(size)) != 0) {
      throw_errno("shorten", path_);
    }
  }

 private:
  std::string path_;
  Descriptor file_;
};

class RealFileSystem final : public FileSystem {
 public:
  std::unique_ptr<File> open(const std::string& path, Access access) override {
    return std::make_unique<RealFile>(path, access == Access::read ? O_RDONLY : O_RDWR);
  }

  std::unique_ptr<File> create(const std::string& path) override {
    auto file = std::make_unique<RealFile>(path, O_RDWR | O_CREAT | O_TRUNC);
    sync_directory(std::filesystem::path(path).parent_path());
    return file;
  }

  void remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
      throw_errno("remove", path);
    }
  }

  std::vector<std::string> list(const std::string& directory) const override {
    std::vector<std::string> names;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  void make_directory(const std::string& path) override {
    std::error_code error;
    const bool is_new = std::filesystem::create_directories(path, error);
    if (error) {
      errno = error.value();
      throw_errno("make the directory", path);
    }
    if (is_new) {
      sync_directory(std::filesystem::absolute(path).parent_path());
    }
  }
};

}  // namespace

FileSystem& real_file_system() {
  static RealFileSystem files;
  return files;
}

}  // namespace alluvium::memory_bank
