#include "directory_lock.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

std::string read_owner(int descriptor) {
  std::array<char, 32> content{};
  const ssize_t got = ::pread(descriptor, content.data(), content.size() - 1, 0);
  std::string owner(content.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  owner.erase(owner.find_last_not_of('\n') + 1);
  return owner.empty() ? "unknown" : owner;
}

}  // namespace

DirectoryLock::DirectoryLock(const std::string& directory) {
  const std::string path = directory + "/LOCK";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  ALLUVIUM_CHECK(descriptor_ >= 0, "cannot write {}: {}; check the directory's owner and mode",
                 path, std::strerror(errno));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const std::string owner = read_owner(descriptor_);
    ::close(descriptor_);
    throw Unavailable(fmt::format(
        "the directory {} is in use by process {}; stop it, or choose another directory", directory,
        owner));
  }
  const std::string own = fmt::format("{}\n", ::getpid());
  // The id only serves the message above: a full disk must not stop the lock.
  if (::ftruncate(descriptor_, 0) == 0) {
    [[maybe_unused]] const ssize_t written = ::pwrite(descriptor_, own.data(), own.size(), 0);
  }
}

DirectoryLock::~DirectoryLock() { ::close(descriptor_); }

}  // namespace alluvium::memory_bank
