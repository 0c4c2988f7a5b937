#include "kv/compensation.h"

#include <cmath>
#include <cstring>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Half.h>

#include "kv/record_check.h"

namespace alluvium::memory_bank {
namespace {

std::size_t row_bytes(int64_t head_dim) {
  return static_cast<std::size_t>(head_dim) * sizeof(c10::Half);
}

}  // namespace

CompensationRows compensate(const at::Tensor& keys, const at::Tensor& values, const KeptRows& kept,
                            const backbone::Rope& rope) {
  CompensationRows rows;
  if (kept.everything()) {
    return rows;
  }
  const int64_t n = keys.size(2);
  const at::Tensor lost = at::ones({keys.size(0) * keys.size(1), n}, at::kFloat);
  int64_t first = 0;
  for (std::size_t slot = 0; slot < kept.counts.size(); ++slot) {
    const int64_t count = kept.counts[slot];
    lost[static_cast<int64_t>(slot)].index_fill_(0, kept.positions.narrow(0, first, count), 0);
    first += count;
    rows.counts.push_back(n - count);
  }
  const at::Tensor number = at::tensor(rows.counts, at::kFloat).clamp_min(1).unsqueeze(1);
  const auto mean = [&](const at::Tensor& all) {
    return at::matmul(lost.unsqueeze(1), all.flatten(0, 1)).squeeze(1) / number;
  };
  const auto host = [](const at::Tensor& tensor) {
    return tensor.to(at::TensorOptions(at::kFloat).device(at::kCPU));
  };
  rows.keys = mean(rope.rotate(host(keys), at::arange(n, at::kLong)));
  rows.values = mean(host(values));
  return rows;
}

std::size_t compensation_bytes(int64_t kv_heads, int64_t head_dim) {
  return static_cast<std::size_t>(kv_heads) * (sizeof(uint32_t) + 2 * row_bytes(head_dim));
}

void write_compensation(const CompensationRows& rows, int64_t layer, int64_t kv_heads,
                        std::byte* out) {
  const std::size_t bytes = row_bytes(rows.keys.size(1));
  for (int64_t slot = layer * kv_heads; slot < (layer + 1) * kv_heads; ++slot) {
    const auto count = static_cast<uint32_t>(rows.counts[static_cast<std::size_t>(slot)]);
    std::memcpy(out, &count, sizeof(count));
    out += sizeof(count);
    for (const at::Tensor* tensor : {&rows.keys, &rows.values}) {
      std::memcpy(out, tensor->const_data_ptr<c10::Half>() + slot * tensor->size(1), bytes);
      out += bytes;
    }
  }
}

void read_compensation(std::span<const std::byte> bytes, int64_t tokens,
                       std::span<const int64_t> kept, CompensationRows& rows) {
  const int64_t head_dim = rows.keys.size(1);
  const std::byte* from = bytes.data();
  for (const int64_t here : kept) {
    const auto slot = static_cast<int64_t>(rows.counts.size());
    uint32_t count = 0;
    std::memcpy(&count, from, sizeof(count));
    from += sizeof(count);
    require(int64_t{count} == tokens - here, "a compensation row stands for rows that were kept");
    rows.counts.push_back(int64_t{count});
    for (const at::Tensor* tensor : {&rows.keys, &rows.values}) {
      auto* row = tensor->mutable_data_ptr<c10::Half>() + slot * head_dim;
      std::memcpy(row, from, row_bytes(head_dim));
      from += row_bytes(head_dim);
      for (int64_t c = 0; c < head_dim; ++c) {
        require(std::isfinite(static_cast<float>(row[c])), "a compensation row is not finite");
      }
    }
  }
}

}  // namespace alluvium::memory_bank
