#include "alluvium/backbone/safetensors.h"

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

#include <ATen/ops/empty.h>
#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "mapped_file.h"
#include "safetensors_file.h"

namespace alluvium::backbone {
namespace {

const char* dtype_name(const std::string& name, at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "F32";
    case at::kBFloat16:
      return "BF16";
    case at::kLong:
      return "I64";
    default:
      throw InvalidArgument(
          fmt::format("tensor '{}' has dtype {}; F32, BF16 and I64 can be written", name,
                      c10::toString(dtype)));
  }
}

// A file that is written, synced and closed, or an error that names it.
class DurableFile {
 public:
  explicit DurableFile(const std::string& path)
      : path_(path),
        descriptor_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
    require(descriptor_ >= 0);
  }
  ~DurableFile() {
    if (descriptor_ >= 0) {
      close(descriptor_);
    }
  }
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  void write(const void* bytes, std::size_t size) {
    const auto* at = static_cast<const char*>(bytes);
    while (size > 0) {
      const ssize_t written = ::write(descriptor_, at, size);
      require(written > 0);
      at += written;
      size -= static_cast<std::size_t>(written);
    }
  }

  void finish() {
    require(fsync(descriptor_) == 0);
    const int closed = close(descriptor_);
    descriptor_ = -1;
    require(closed == 0);
  }

 private:
  void require(bool fine) const {
    if (!fine) {
      throw ResourceExhausted(fmt::format("cannot write '{}': {}", path_, std::strerror(errno)));
    }
  }

  std::string path_;
  int descriptor_;
};

}  // namespace

void write_safetensors(const std::string& path, const TensorMap& tensors) {
  nlohmann::json header = nlohmann::json::object();
  std::vector<at::Tensor> host;
  std::size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    host.push_back(tensor.detach().cpu().contiguous());
    const std::size_t end = offset + host.back().nbytes();
    header[name] = {{"dtype", dtype_name(name, tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();

  const std::string beside = path + ".new";
  DurableFile file(beside);
  file.write(&length, sizeof(length));
  file.write(text.data(), text.size());
  for (const at::Tensor& tensor : host) {
    file.write(tensor.const_data_ptr(), tensor.nbytes());
  }
  file.finish();
  std::error_code error;
  std::filesystem::rename(beside, path, error);
  if (error) {
    throw ResourceExhausted(fmt::format("cannot write '{}': {}", path, error.message()));
  }
}

TensorMap load_safetensors(const std::string& path) {
  const MappedFile file(path);
  TensorMap tensors;
  for (const StoredTensor& stored : read_safetensors(file)) {
    if (stored.format == StorageFormat::i64 || stored.format == StorageFormat::bf16) {
      at::Tensor tensor =
          at::empty(stored.shape, stored.format == StorageFormat::i64 ? at::kLong : at::kBFloat16);
      std::memcpy(tensor.mutable_data_ptr(), stored.data, stored.bytes);
      tensors[stored.name] = tensor;
    } else {
      tensors[stored.name] = dequantise(stored);
    }
  }
  return tensors;
}

}  // namespace alluvium::backbone
