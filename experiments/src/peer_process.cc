#include "peer_process.h"

#include <array>
#include <cstdio>
#include <filesystem>

#include "alluvium/core/error.h"
#include "alluvium/service/configuration.h"

namespace alluvium::experiments {

std::string run_peer(const std::string& option, const std::string& script,
                     const std::vector<std::string>& arguments) {
  const std::string python = service::cache_directory() + "/peers/bin/python";
  ALLUVIUM_CHECK(std::filesystem::exists(python),
                 "{}: the peers are not installed; './run peers' installs them", option);
  ALLUVIUM_CHECK(std::filesystem::exists(script), "{}: there is no file {}", option, script);
  std::string command = fmt::format("'{}' '{}'", python, script);
  for (const std::string& argument : arguments) {
    command += fmt::format(" '{}'", argument);
  }
  std::FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
  ALLUVIUM_CHECK(pipe != nullptr, "{}: cannot start a shell", option);
  std::string output;
  std::array<char, 4096> buffer{};
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), n);
  }
  const int status = pclose(pipe);
  ALLUVIUM_CHECK(status == 0, "{}: the peer failed (status {}): {}", option, status, command);
  return output;
}

}  // namespace alluvium::experiments
