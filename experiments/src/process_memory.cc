#include "process_memory.h"

#include <fstream>
#include <string>

#include <fmt/format.h>

namespace alluvium::experiments {

void reset_peak_rss() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5\n";
}

namespace {

int64_t peak_of(const std::string& status_path) {
  std::ifstream file(status_path);
  std::string name;
  while (file >> name) {
    if (name == "VmHWM:") {
      int64_t kilobytes = 0;
      file >> kilobytes;
      return kilobytes * 1024;
    }
  }
  return 0;
}

}  // namespace

int64_t peak_rss_bytes() { return peak_of("/proc/self/status"); }

int64_t peak_rss_bytes(pid_t process) { return peak_of(fmt::format("/proc/{}/status", process)); }

}  // namespace alluvium::experiments
