#include "selection_state.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <unistd.h>
#include <vector>

#include "alluvium/core/crc32c.h"
#include "alluvium/core/error.h"
#include "alluvium/core/sha256.h"

namespace alluvium::service {
namespace {

constexpr char kMagic[] = "ALVSEL1\n";
constexpr std::size_t kMagicBytes = sizeof kMagic - 1;

}  // namespace

std::optional<nlohmann::json> read_selection_state(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return std::nullopt;
  }
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  uint32_t wanted = 0;
  const std::size_t head = kMagicBytes + sizeof wanted;
  const bool begins = bytes.size() >= head && bytes.compare(0, kMagicBytes, kMagic) == 0;
  if (begins) {
    std::memcpy(&wanted, bytes.data() + kMagicBytes, sizeof wanted);
  }
  if (!begins || crc32c(bytes.data() + head, bytes.size() - head) != wanted) {
    throw DataCorruption(fmt::format("'{}' fails its check; remove it to start anew", path));
  }
  try {
    return nlohmann::json::from_cbor(bytes.begin() + static_cast<std::ptrdiff_t>(head),
                                     bytes.end());
  } catch (const nlohmann::json::exception& error) {
    throw DataCorruption(fmt::format("'{}': {}; remove it to start anew", path, error.what()));
  }
}

void write_selection_state(const std::string& path, const nlohmann::json& state) {
  std::string bytes(kMagic);
  bytes.resize(kMagicBytes + sizeof(uint32_t));
  nlohmann::json::to_cbor(state, bytes);
  const std::size_t head = kMagicBytes + sizeof(uint32_t);
  const uint32_t check = crc32c(bytes.data() + head, bytes.size() - head);
  std::memcpy(bytes.data() + kMagicBytes, &check, sizeof check);

  const std::string unfinished = path + ".part";
  const int descriptor = ::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  bool good = descriptor >= 0;
  for (std::size_t written = 0; good && written < bytes.size();) {
    const ssize_t n = ::write(descriptor, bytes.data() + written, bytes.size() - written);
    good = n > 0 || (n < 0 && errno == EINTR);
    written += n > 0 ? static_cast<std::size_t>(n) : 0;
  }
  good = good && ::fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) {
    ::close(descriptor);
  }
  if (!good || std::rename(unfinished.c_str(), path.c_str()) != 0) {
    throw Unavailable(
        fmt::format("cannot write '{}': {}", path, std::strerror(good ? errno : error)));
  }
}

std::string target_identity(const selectors::TargetSet& targets) {
  Sha256 digest;
  for (const std::string& text : targets.texts) {
    digest.update(std::to_string(text.size()) + ":").update(text);
  }
  return fmt::format("targets {} {}", targets.version, to_hex(digest.finish()).substr(0, 16));
}

nlohmann::json window_to_json(const selectors::StreamGateWindow& window) {
  return {window.first, window.second, window.judged};
}

selectors::StreamGateWindow window_from_json(const nlohmann::json& window) {
  return {.first = window.at(0).get<std::vector<double>>(),
          .second = window.at(1).get<std::vector<double>>(),
          .judged = window.at(2).get<int64_t>()};
}

}  // namespace alluvium::service
