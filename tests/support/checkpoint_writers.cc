#include "support/checkpoint_writers.h"

#include <fstream>
#include <sstream>
#include <stdexcept>

#include <nlohmann/json.hpp>

namespace alluvium::tests {
namespace {

// Type numbers of GGUF's description values.
constexpr uint32_t kUint32 = 4;
constexpr uint32_t kInt32 = 5;
constexpr uint32_t kFloat32 = 6;
constexpr uint32_t kBoolean = 7;
constexpr uint32_t kText = 8;
constexpr uint32_t kArray = 9;

template <class Number>
std::string raw(Number number) {
  return bytes_of(std::vector<Number>{number});
}

std::string counted(std::string_view text) { return raw<uint64_t>(text.size()).append(text); }

std::string padding(std::size_t size) {
  const std::size_t over = size % GgufWriter::kAlignment;
  return std::string(over == 0 ? 0 : GgufWriter::kAlignment - over, '\0');
}

}  // namespace

GgufWriter& GgufWriter::add_raw(const std::string& key, uint32_t type, std::string_view bytes) {
  metadata_ += counted(key) + raw(type);
  metadata_ += bytes;
  ++metadata_count_;
  return *this;
}

GgufWriter& GgufWriter::add_integer(const std::string& key, uint32_t value) {
  return add_raw(key, kUint32, raw(value));
}

GgufWriter& GgufWriter::add_real(const std::string& key, float value) {
  return add_raw(key, kFloat32, raw(value));
}

GgufWriter& GgufWriter::add_boolean(const std::string& key, bool value) {
  return add_raw(key, kBoolean, raw<uint8_t>(value ? 1 : 0));
}

GgufWriter& GgufWriter::add_text(const std::string& key, std::string_view value) {
  return add_raw(key, kText, counted(value));
}

GgufWriter& GgufWriter::add_texts(const std::string& key, const std::vector<std::string>& values) {
  std::string bytes = raw(kText) + raw<uint64_t>(values.size());
  for (const std::string& value : values) {
    bytes += counted(value);
  }
  return add_raw(key, kArray, bytes);
}

GgufWriter& GgufWriter::add_integers(const std::string& key, const std::vector<int32_t>& values) {
  return add_raw(key, kArray, raw(kInt32) + raw<uint64_t>(values.size()) + bytes_of(values));
}

GgufWriter& GgufWriter::add_tensor(const std::string& name, const std::vector<int64_t>& shape,
                                   uint32_t format, std::string_view bytes) {
  tensors_ += counted(name) + raw(static_cast<uint32_t>(shape.size()));
  for (auto size = shape.rbegin(); size != shape.rend(); ++size) {
    tensors_ += raw(*size);
  }
  tensors_ += raw(format) + raw<uint64_t>(data_.size());
  data_ += bytes;
  data_ += padding(data_.size());
  ++tensor_count_;
  return *this;
}

std::string GgufWriter::bytes(uint32_t version) const {
  std::string file = "GGUF" + raw(version) + raw(tensor_count_) + raw(metadata_count_);
  file += metadata_ + tensors_;
  return file + padding(file.size()) + data_;
}

std::string safetensors_bytes(std::string_view header, std::string_view data) {
  return raw<uint64_t>(header.size()).append(header).append(data);
}

std::string safetensors_bytes(const std::vector<SafetensorsEntry>& entries) {
  auto header = nlohmann::ordered_json::object();
  std::string data;
  for (const SafetensorsEntry& entry : entries) {
    header[entry.name] = {{"dtype", entry.dtype},
                          {"shape", entry.shape},
                          {"data_offsets", {data.size(), data.size() + entry.bytes.size()}}};
    data += entry.bytes;
  }
  return safetensors_bytes(header.dump(), data);
}

void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) {
    throw std::runtime_error("cannot write " + path);
  }
}

std::string read_file(const std::string& path) {
  const std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  if (!file) {
    throw std::runtime_error("cannot read " + path);
  }
  return bytes.str();
}

}  // namespace alluvium::tests
