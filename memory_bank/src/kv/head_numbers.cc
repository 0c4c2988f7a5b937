#include "kv/head_numbers.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include "kv/residual.h"

namespace alluvium::memory_bank {
namespace {

std::size_t code_and_scale_bytes(const HeadNumbers& of) {
  return of.group == 0 ? value_bytes(of.rows, of.width, of.bits, of.scale_bits)
                       : key_bytes(of.rows, of.width, of.group, of.bits, of.scale_bits);
}

std::size_t plain_bytes(const HeadNumbers& of) {
  return static_cast<std::size_t>(of.rows * of.width) * at::elementSize(of.type);
}

template <class T>
void dequantise(const HeadNumbers& of, const std::byte* from, T* out) {
  if (of.group == 0) {
    dequantise_values(from, of.rows, of.width, of.bits, of.scale_bits, out);
  } else {
    dequantise_keys(from, of.rows, of.width, of.group, of.bits, of.scale_bits, out);
  }
}

}  // namespace

std::size_t bytes_of(const HeadNumbers& numbers) {
  return numbers.coded() ? code_and_scale_bytes(numbers) +
                               residual_bytes(numbers.rows, numbers.width, numbers.residual_rank)
                         : plain_bytes(numbers);
}

void encode_head(const HeadNumbers& numbers, const std::byte* rows, std::byte* out) {
  if (!numbers.coded()) {
    std::memcpy(out, rows, plain_bytes(numbers));
    return;
  }
  const auto* exact = reinterpret_cast<const float*>(rows);
  if (numbers.group == 0) {
    quantise_values(exact, numbers.rows, numbers.width, numbers.bits, numbers.scale_bits, out,
                    numbers.quantiser);
  } else {
    quantise_keys(exact, numbers.rows, numbers.width, numbers.group, numbers.bits,
                  numbers.scale_bits, out);
  }
  if (numbers.residual_rank > 0) {
    std::vector<float> decoded(static_cast<std::size_t>(numbers.rows * numbers.width));
    dequantise(numbers, out, decoded.data());
    write_residual(exact, decoded.data(), numbers.rows, numbers.width, numbers.residual_rank,
                   out + code_and_scale_bytes(numbers));
  }
}

template <class T>
void decode_head(const HeadNumbers& numbers, const std::byte* from, T* out) {
  if (!numbers.coded()) {
    std::memcpy(out, from, plain_bytes(numbers));
    return;
  }
  if (numbers.residual_rank == 0) {
    dequantise(numbers, from, out);
    return;
  }
  // The residual is added before rows are rounded to T.
  std::vector<float> exact(static_cast<std::size_t>(numbers.rows * numbers.width));
  dequantise(numbers, from, exact.data());
  add_residual(from + code_and_scale_bytes(numbers), numbers.rows, numbers.width,
               numbers.residual_rank, exact.data());
  std::copy(exact.begin(), exact.end(), out);
}

template void decode_head(const HeadNumbers&, const std::byte*, float*);
template void decode_head(const HeadNumbers&, const std::byte*, c10::BFloat16*);
template void decode_head(const HeadNumbers&, const std::byte*, c10::Half*);

}  // namespace alluvium::memory_bank
