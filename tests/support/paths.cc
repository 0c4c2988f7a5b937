#include "support/paths.h"

#include <cstdlib>
#include <stdexcept>

namespace alluvium::tests {
namespace {

std::optional<std::string> if_there(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? std::optional(path.string()) : std::nullopt;
}

std::filesystem::path cache() {
  if (const char* own = std::getenv("ALLUVIUM_CACHE")) {
    return own;
  }
  if (const char* xdg = std::getenv("XDG_CACHE_HOME")) {
    return std::filesystem::path(xdg) / "alluvium";
  }
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home != nullptr ? home : "/") / ".cache/alluvium";
}

}  // namespace

std::optional<std::string> data_directory() {
  if (const char* own = std::getenv("ALLUVIUM_DATA")) {
    return if_there(own);
  }
  return if_there(std::filesystem::path(ALLUVIUM_SOURCE_DIRECTORY).parent_path() / "shared/data");
}

std::optional<std::string> default_decoder_path() {
  return if_there(cache() / "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
}

std::optional<std::string> default_encoder_path() {
  return if_there(cache() / "models/all-minilm-l6-v2");
}

std::string oracle_directory() { return ALLUVIUM_SOURCE_DIRECTORY "/tests/oracle"; }

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "alluvium-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    throw std::runtime_error("cannot make a temporary directory like " + pattern);
  }
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace alluvium::tests
