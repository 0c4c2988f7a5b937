#include "memory_folder.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <unistd.h>
#include <utility>
#include <vector>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/kv_record.h"

namespace alluvium::experiments {

using memory_bank::Memory;

MemoryFolder::MemoryFolder(std::string directory, std::shared_ptr<const memory_bank::KvBasis> basis)
    : directory_(std::move(directory)), basis_(std::move(basis)) {
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (error) {
    throw ResourceExhausted(fmt::format("cannot make '{}': {}", directory_, error.message()));
  }
}

std::string MemoryFolder::path_of(const Digest& fingerprint, const Digest& document_sha) const {
  return fmt::format("{}/{}-{}.kv", directory_, to_hex(fingerprint).substr(0, 16),
                     to_hex(document_sha).substr(0, 32));
}

std::shared_ptr<const Memory> MemoryFolder::find(const Digest& fingerprint,
                                                 const Digest& document_sha) const {
  std::ifstream file(path_of(fingerprint, document_sha), std::ios::binary | std::ios::ate);
  if (!file) {
    return nullptr;
  }
  std::vector<std::byte> record(static_cast<std::size_t>(file.tellg()));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(record.data()), static_cast<std::streamsize>(record.size()));
  if (!file) {
    return nullptr;
  }
  try {
    auto memory = std::make_shared<const Memory>(memory_bank::decode_record(record, basis_.get()));
    const bool fits = memory->fingerprint == fingerprint && memory->document_sha == document_sha;
    return fits ? memory : nullptr;
  } catch (const DataCorruption&) {
    return nullptr;
  }
}

void MemoryFolder::keep(const Memory& memory) const {
  const std::vector<std::byte> record = memory_bank::encode_record(memory);
  const std::string path = path_of(memory.fingerprint, memory.document_sha);
  static std::atomic<int64_t> written{0};  // with the process id, a name no one else writes to
  const std::string beside = fmt::format("{}.{}.{}", path, getpid(), ++written);
  std::ofstream file(beside, std::ios::binary);
  file.write(reinterpret_cast<const char*>(record.data()),
             static_cast<std::streamsize>(record.size()));
  file.close();
  std::error_code error;
  if (file) {
    std::filesystem::rename(beside, path, error);
  }
  if (!file || error) {
    std::error_code ignored;
    std::filesystem::remove(beside, ignored);
    throw ResourceExhausted(fmt::format("cannot write '{}': is the disk full?", path));
  }
}

}  // namespace alluvium::experiments
