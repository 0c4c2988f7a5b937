#include "kv/transform.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>

#include "kv/coefficients.h"
#include "kv/record_check.h"

namespace alluvium::memory_bank {
namespace {

/// Coordinates that vary less than this share of a step are 0 in all but one of a million rows.
constexpr double kLeastSpread = 0.1;

/// One head's keys or values of one layer.
struct Head {
  at::Tensor mean;
  at::Tensor analysis;   // [coordinates, head_dim]: those that are written
  at::Tensor synthesis;  // [head_dim, coordinates]
  float step = 0;
  std::vector<CoefficientTable> tables;

  int64_t coordinates() const { return static_cast<int64_t>(tables.size()); }
};

Head head_of(const HeadBases& bases, int64_t layer, int64_t head, double step) {
  const at::Tensor spread = bases.spread[layer][head];
  const auto* deviation = spread.const_data_ptr<float>();
  const int64_t all = spread.numel();
  int64_t written = all;
  while (written > 0 && deviation[written - 1] < kLeastSpread * step) {
    --written;
  }
  Head made;
  made.mean = bases.mean[layer][head];
  made.analysis = bases.analysis[layer][head].narrow(0, 0, written);
  made.synthesis = bases.synthesis[layer][head].narrow(1, 0, written);
  made.step = static_cast<float>(step);
  for (int64_t c = 0; c < written; ++c) {
    made.tables.emplace_back(std::max<double>(deviation[c], kLeastSpread * step) / step);
  }
  return made;
}

Head key_head(const KvBasis& basis, int64_t layer, int64_t head, const TransformSteps& steps) {
  return head_of(basis.keys, layer, head, steps.key);
}

Head value_head(const KvBasis& basis, int64_t layer, int64_t head, const TransformSteps& steps) {
  const at::Tensor spread = basis.values.spread[layer][head];
  const double size = spread.square().mean().sqrt().item<double>();
  // A head whose values never vary has no coordinates, whatever its step.
  return head_of(basis.values, layer, head, steps.value * (size > 0 ? size : 1));
}

void write_rows(const Head& head, const at::Tensor& rows, std::vector<RansInterval>& out) {
  if (head.coordinates() == 0) {
    return;
  }
  const at::Tensor numbers = at::matmul(rows - head.mean, head.analysis.t())
                                 .div_(head.step)
                                 .round_()
                                 .clamp_(-kLargestCoefficient, kLargestCoefficient)
                                 .contiguous();
  const auto* number = numbers.const_data_ptr<float>();
  for (int64_t r = 0; r < numbers.size(0); ++r) {
    for (const CoefficientTable& table : head.tables) {
      table.write(static_cast<int64_t>(*number++), out);
    }
  }
}

enum class Point { centre, middle };

at::Tensor read_rows(const Head& head, int64_t rows, Point point, RansReader& reader) {
  const at::Tensor numbers = at::empty({rows, head.coordinates()}, at::kFloat);
  auto* number = numbers.mutable_data_ptr<float>();
  for (int64_t r = 0; r < rows; ++r) {
    for (const CoefficientTable& table : head.tables) {
      const int64_t read = table.read(reader);
      *number++ = point == Point::centre ? table.centre(read) : static_cast<float>(read);
    }
  }
  return at::addmm(head.mean, numbers, head.synthesis.t(), 1, head.step);
}

}  // namespace

std::vector<std::byte> encode_transform(const KvBasis& basis, int64_t layer,
                                        const TransformSteps& steps, const at::Tensor& keys,
                                        const at::Tensor& values, std::span<const int64_t> counts,
                                        std::span<const int64_t> positions) {
  std::vector<RansInterval> intervals;
  const auto write_all = [&](const at::Tensor& tensor, auto&& head_of_number) {
    std::size_t first = 0;
    for (std::size_t h = 0; h < counts.size(); ++h) {
      const auto head = static_cast<int64_t>(h);
      const at::Tensor kept = at::from_blob(const_cast<int64_t*>(positions.data() + first),
                                            {counts[h]}, at::TensorOptions().dtype(at::kLong));
      write_rows(head_of_number(basis, layer, head, steps), at::index_select(tensor[head], 0, kept),
                 intervals);
      first += static_cast<std::size_t>(counts[h]);
    }
  };
  write_all(keys, key_head);
  write_all(values, value_head);
  std::vector<std::byte> out;
  write_rans(intervals, out);
  return out;
}

TransformedRows decode_transform(const KvBasis& basis, int64_t layer, const TransformSteps& steps,
                                 std::span<const std::byte> bytes,
                                 std::span<const int64_t> counts) {
  const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  TransformedRows out{at::empty({rows, basis.head_dim()}, at::kFloat),
                      at::empty({rows, basis.head_dim()}, at::kFloat)};
  RansReader reader(bytes);
  const auto read_all = [&](const at::Tensor& to, Point point, auto&& head_of_number) {
    int64_t first = 0;
    for (std::size_t h = 0; h < counts.size(); ++h) {
      to.narrow(0, first, counts[h])
          .copy_(read_rows(head_of_number(basis, layer, static_cast<int64_t>(h), steps), counts[h],
                           point, reader));
      first += counts[h];
    }
  };
  read_all(out.keys, Point::centre, key_head);
  read_all(out.values, Point::middle, value_head);
  require(reader.ended(), "coded numbers end too late");
  return out;
}

}  // namespace alluvium::memory_bank
