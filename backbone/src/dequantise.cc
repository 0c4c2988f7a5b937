// Source : block layouts of ggml-common.h (block_q8_0, block_q4_0, block_q4_1) in https://github.com/ggml-org/ggml.
// Differs: none in value. A code times a half-precision scale has at most 19 significant bits, so the product is exact in float32 and the
//          one addition of q4_1 rounds once, fused or not.
#include <cstring>

#include <ATen/ops/empty.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "alluvium/backbone/checkpoint.h"
#include "alluvium/core/error.h"
#include "storage_format.h"

namespace alluvium::backbone {
namespace {

// Files align tensors to 1 byte at worst, so numbers are copied out.
template <class Number>
Number load(const std::byte* bytes) {
  Number number;
  std::memcpy(&number, bytes, sizeof(Number));
  return number;
}

float half(const std::byte* bytes) {
  return c10::detail::fp16_ieee_to_fp32_value(load<uint16_t>(bytes));
}

void expand_f16(const std::byte* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = half(from + 2 * i);
  }
}

void expand_bf16(const std::byte* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = c10::detail::f32_from_bits(load<uint16_t>(from + 2 * i));
  }
}

void expand_i64(const std::byte* from, int64_t count, float* to, const std::string& name) {
  constexpr int64_t kLargestExact = int64_t{1} << 24;
  for (int64_t i = 0; i < count; ++i) {
    const auto number = load<int64_t>(from + 8 * i);
    if (number > kLargestExact || number < -kLargestExact) {
      throw NotSupported(fmt::format("tensor '{}' holds {}, which float32 cannot", name, number));
    }
    to[i] = static_cast<float>(number);
  }
}

void expand_q8_0(const std::byte* from, int64_t blocks, float* to) {
  for (int64_t block = 0; block < blocks; ++block) {
    const float scale = half(from);
    const auto* const codes = reinterpret_cast<const int8_t*>(from + 2);
    for (int64_t i = 0; i < kBlockElements; ++i) {
      to[i] = static_cast<float>(codes[i]) * scale;
    }
    from += block_bytes(StorageFormat::q8_0);
    to += kBlockElements;
  }
}

// Nibbles: byte i holds element i below and element i + 16 above.
void expand_nibbles(const uint8_t* codes, float scale, int offset, float minimum, float* to) {
  constexpr int64_t kHalf = kBlockElements / 2;
  for (int64_t i = 0; i < kHalf; ++i) {
    to[i] = static_cast<float>((codes[i] & 0x0f) - offset) * scale + minimum;
    to[i + kHalf] = static_cast<float>((codes[i] >> 4) - offset) * scale + minimum;
  }
}

void expand_q4_0(const std::byte* from, int64_t blocks, float* to) {
  for (int64_t block = 0; block < blocks; ++block) {
    expand_nibbles(reinterpret_cast<const uint8_t*>(from + 2), half(from), 8, 0.0F, to);
    from += block_bytes(StorageFormat::q4_0);
    to += kBlockElements;
  }
}

void expand_q4_1(const std::byte* from, int64_t blocks, float* to) {
  for (int64_t block = 0; block < blocks; ++block) {
    expand_nibbles(reinterpret_cast<const uint8_t*>(from + 4), half(from), 0, half(from + 2), to);
    from += block_bytes(StorageFormat::q4_1);
    to += kBlockElements;
  }
}

void expand(const StoredTensor& tensor, int64_t count, float* to) {
  const int64_t blocks = count / block_elements(tensor.format);
  switch (tensor.format) {
    case StorageFormat::f32:
      std::memcpy(to, tensor.data, tensor.bytes);
      return;
    case StorageFormat::f16:
      return expand_f16(tensor.data, count, to);
    case StorageFormat::bf16:
      return expand_bf16(tensor.data, count, to);
    case StorageFormat::q8_0:
      return expand_q8_0(tensor.data, blocks, to);
    case StorageFormat::q4_0:
      return expand_q4_0(tensor.data, blocks, to);
    case StorageFormat::q4_1:
      return expand_q4_1(tensor.data, blocks, to);
    case StorageFormat::i64:
      return expand_i64(tensor.data, count, to, tensor.name);
  }
  throw InternalError("storage format outside its enumeration");
}

}  // namespace

at::Tensor dequantise(const StoredTensor& tensor) {
  const std::optional<std::size_t> bytes = stored_bytes(tensor.format, tensor.shape);
  ALLUVIUM_CHECK(bytes == tensor.bytes, "tensor '{}' has {} bytes, not {} of shape [{}]",
                 tensor.name, tensor.bytes, to_string(tensor.format),
                 fmt::join(tensor.shape, ", "));
  at::Tensor values =
      at::empty(tensor.shape, at::TensorOptions().dtype(at::kFloat).device(at::kCPU));
  if (values.numel() > 0) {
    expand(tensor, values.numel(), values.data_ptr<float>());
  }
  return values;
}

}  // namespace alluvium::backbone
