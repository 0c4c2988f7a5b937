#include "storage_format.h"

#include "alluvium/core/error.h"

namespace alluvium::backbone {
namespace {

constexpr int64_t kLargestProduct = int64_t{1} << 62;

}  // namespace

const char* to_string(StorageFormat format) {
  switch (format) {
    case StorageFormat::f32:
      return "F32";
    case StorageFormat::f16:
      return "F16";
    case StorageFormat::bf16:
      return "BF16";
    case StorageFormat::q8_0:
      return "Q8_0";
    case StorageFormat::q4_0:
      return "Q4_0";
    case StorageFormat::q4_1:
      return "Q4_1";
    case StorageFormat::i64:
      return "I64";
  }
  throw InternalError("storage format outside its enumeration");
}

int64_t block_elements(StorageFormat format) {
  switch (format) {
    case StorageFormat::f32:
    case StorageFormat::f16:
    case StorageFormat::bf16:
    case StorageFormat::i64:
      return 1;
    case StorageFormat::q8_0:
    case StorageFormat::q4_0:
    case StorageFormat::q4_1:
      return kBlockElements;
  }
  throw InternalError("storage format outside its enumeration");
}

std::size_t block_bytes(StorageFormat format) {
  switch (format) {
    case StorageFormat::f32:
      return 4;
    case StorageFormat::f16:
    case StorageFormat::bf16:
      return 2;
    case StorageFormat::i64:
      return 8;
    case StorageFormat::q8_0:
      return 2 + 32;  // scale, 32 signed bytes
    case StorageFormat::q4_0:
      return 2 + 16;  // scale, 32 nibbles
    case StorageFormat::q4_1:
      return 2 + 2 + 16;  // scale, minimum, 32 nibbles
  }
  throw InternalError("storage format outside its enumeration");
}

std::optional<int64_t> element_count(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0 || (size > 0 && count > kLargestProduct / size)) {
      return std::nullopt;
    }
    count *= size;
  }
  return count;
}

std::optional<std::size_t> stored_bytes(StorageFormat format, const std::vector<int64_t>& shape) {
  const std::optional<int64_t> count = element_count(shape);
  const int64_t block = block_elements(format);
  const int64_t row = shape.empty() ? 1 : shape.back();
  if (!count || row % block != 0) {
    return std::nullopt;
  }
  const auto blocks = static_cast<std::size_t>(*count / block);
  if (blocks > static_cast<std::size_t>(kLargestProduct) / block_bytes(format)) {
    return std::nullopt;
  }
  return blocks * block_bytes(format);
}

}  // namespace alluvium::backbone
