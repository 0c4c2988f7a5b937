#include "alluvium/core/process_memory.h"

#include <fstream>
#include <malloc.h>
#include <string>
#include <string_view>
#include <unistd.h>

namespace alluvium {
namespace {

/// A line of /proc/PID/status that is given in kB.
int64_t status_bytes(pid_t process, std::string_view line) {
  std::ifstream file("/proc/" + std::to_string(process) + "/status");
  std::string name;
  while (file >> name) {
    if (name == line) {
      int64_t kilobytes = 0;
      file >> kilobytes;
      return kilobytes * 1024;
    }
  }
  return 0;
}

}  // namespace

int64_t resident_bytes() { return status_bytes(getpid(), "VmRSS:"); }

void release_free_memory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

void reset_peak_rss() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5\n";
}

int64_t peak_rss_bytes() { return peak_rss_bytes(getpid()); }

int64_t peak_rss_bytes(pid_t process) { return status_bytes(process, "VmHWM:"); }

}  // namespace alluvium
