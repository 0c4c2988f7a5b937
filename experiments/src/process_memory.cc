#include "process_memory.h"

#include <fstream>
#include <string>
#include <unistd.h>

namespace alluvium::experiments {

void reset_peak_rss() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5\n";
}

int64_t peak_rss_bytes() { return peak_rss_bytes(getpid()); }

int64_t peak_rss_bytes(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/status");
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

}  // namespace alluvium::experiments
