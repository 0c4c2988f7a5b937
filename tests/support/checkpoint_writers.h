// Writers of small GGUF and safetensors files, for tests of the readers.
//
// Differs: they write what they are told, wrong values too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace alluvium::tests {

/// The raw bytes of numbers, as files store them.
template <class Number>
std::string bytes_of(const std::vector<Number>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(Number)};
}

/// Puts a GGUF file together. Tensor data follow in the order of add_tensor(), each at the next
/// multiple of the alignment.
class GgufWriter {
 public:
  static constexpr uint32_t kF32 = 0;
  static constexpr std::size_t kAlignment = 32;

  GgufWriter& add_integer(const std::string& key, uint32_t value);
  GgufWriter& add_real(const std::string& key, float value);
  GgufWriter& add_boolean(const std::string& key, bool value);
  GgufWriter& add_text(const std::string& key, std::string_view value);
  GgufWriter& add_texts(const std::string& key, const std::vector<std::string>& values);
  GgufWriter& add_integers(const std::string& key, const std::vector<int32_t>& values);

  /// An entry whose type number and bytes are the caller's.
  GgufWriter& add_raw(const std::string& key, uint32_t type, std::string_view bytes);

  /// shape: slowest dimension first; format: GGML's number.
  GgufWriter& add_tensor(const std::string& name, const std::vector<int64_t>& shape,
                         uint32_t format, std::string_view bytes);

  std::string bytes(uint32_t version = 3) const;

 private:
  std::string metadata_;
  std::string tensors_;
  std::string data_;
  uint64_t metadata_count_ = 0;
  uint64_t tensor_count_ = 0;
};

/// One tensor of a safetensors file.
struct SafetensorsEntry {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

std::string safetensors_bytes(const std::vector<SafetensorsEntry>& entries);

/// A safetensors file with this header text and data section.
std::string safetensors_bytes(std::string_view header, std::string_view data);

/// Writes (or replaces) a file.
void write_file(const std::string& path, std::string_view bytes);

std::string read_file(const std::string& path);

}  // namespace alluvium::tests
