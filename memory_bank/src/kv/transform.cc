#include "kv/transform.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>
#include <tuple>

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>

#include "kv/record_check.h"

namespace alluvium::memory_bank {
namespace {

/// Coordinates that vary less than this share of a step are 0 in all but one of a million rows.
constexpr double kLeastSpread = 0.1;

/// Pairs of basis and steps that are kept ready: those of a service's presets and some more.
constexpr std::size_t kKeptReady = 8;

}  // namespace

Transform::Head::Head(const HeadBases& bases, int64_t layer, int64_t head, double step_size)
    : mean(bases.mean[layer][head]), step(step_size) {
  const at::Tensor spread = bases.spread[layer][head];
  const auto* deviation = spread.const_data_ptr<float>();
  int64_t written = spread.numel();
  while (written > 0 && deviation[written - 1] < kLeastSpread * step) {
    --written;
  }
  analysis = bases.analysis[layer][head].narrow(0, 0, written);
  synthesis = bases.synthesis[layer][head].narrow(1, 0, written).contiguous();
  for (int64_t c = 0; c < written; ++c) {
    tables.emplace_back(std::max<double>(deviation[c], kLeastSpread * step) / step);
  }
}

void Transform::Head::write(const at::Tensor& rows, std::vector<RansSymbol>& out) const {
  const at::Tensor numbers = at::matmul(analysis, (rows - mean).t())
                                 .div_(step)
                                 .round_()
                                 .clamp_(-kLargestCoefficient, kLargestCoefficient)
                                 .contiguous();
  const auto count = static_cast<std::size_t>(rows.size(0));
  const auto* number = numbers.const_data_ptr<float>();
  for (const CoefficientTable& table : tables) {
    table.write({number, count}, out);
    number += count;
  }
}

void Transform::Head::read(CoefficientPoint point, CoefficientReader& reader,
                           at::Tensor rows) const {
  const at::Tensor numbers =
      at::empty({static_cast<int64_t>(tables.size()), rows.size(0)}, at::kFloat);
  const auto count = static_cast<std::size_t>(rows.size(0));
  auto* number = numbers.mutable_data_ptr<float>();
  for (const CoefficientTable& table : tables) {
    table.read(reader, point, {number, count});
    number += count;
  }
  at::addmm_out(rows, mean, numbers.t(), synthesis.t(), 1, step);
}

Transform::Transform(const KvBasis& basis, const TransformSteps& steps)
    : kv_heads_(basis.kv_heads()), head_dim_(basis.head_dim()) {
  for (int64_t layer = 0; layer < basis.layers(); ++layer) {
    for (int64_t head = 0; head < kv_heads_; ++head) {
      keys_.emplace_back(basis.keys, layer, head, steps.key);
      const double size = basis.values.spread[layer][head].square().mean().sqrt().item<double>();
      // A head whose values never vary has no coordinates, whatever its step.
      values_.emplace_back(basis.values, layer, head, steps.value * (size > 0 ? size : 1));
    }
  }
}

std::shared_ptr<const Transform> Transform::shared(const KvBasis& basis,
                                                   const TransformSteps& steps) {
  static std::mutex mutex;
  static std::map<std::tuple<Digest, float, float>, std::shared_ptr<const Transform>> ready;
  const std::lock_guard lock(mutex);
  const std::tuple key(basis.digest, steps.key, steps.value);
  if (const auto found = ready.find(key); found != ready.end()) {
    return found->second;
  }
  if (ready.size() >= kKeptReady) {
    ready.clear();  // those in use live on with their users
  }
  return ready[key] = std::make_shared<const Transform>(basis, steps);
}

std::vector<std::byte> Transform::encode(int64_t layer, const at::Tensor& keys,
                                         const at::Tensor& values, std::span<const int64_t> counts,
                                         std::span<const int64_t> positions) const {
  std::vector<RansSymbol> symbols;
  const auto write = [&](const std::vector<Head>& heads, const at::Tensor& tensor) {
    std::size_t first = 0;
    for (int64_t h = 0; h < kv_heads_; ++h) {
      const int64_t count = counts[static_cast<std::size_t>(h)];
      const at::Tensor kept = at::from_blob(const_cast<int64_t*>(positions.data() + first), {count},
                                            at::TensorOptions().dtype(at::kLong));
      heads[static_cast<std::size_t>(layer * kv_heads_ + h)].write(
          at::index_select(tensor[h], 0, kept), symbols);
      first += static_cast<std::size_t>(count);
    }
  };
  write(keys_, keys);
  write(values_, values);
  std::vector<std::byte> out;
  write_rans(symbols, kCoefficientLanes, out);
  return out;
}

TransformedRows Transform::decode(int64_t layer, std::span<const std::byte> bytes,
                                  std::span<const int64_t> counts) const {
  const int64_t rows = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  TransformedRows out{at::empty({rows, head_dim_}, at::kFloat),
                      at::empty({rows, head_dim_}, at::kFloat)};
  CoefficientReader reader(bytes);
  const auto read = [&](const std::vector<Head>& heads, CoefficientPoint point,
                        const at::Tensor& to) {
    int64_t first = 0;
    for (int64_t h = 0; h < kv_heads_; ++h) {
      const int64_t count = counts[static_cast<std::size_t>(h)];
      heads[static_cast<std::size_t>(layer * kv_heads_ + h)].read(point, reader,
                                                                  to.narrow(0, first, count));
      first += count;
    }
  };
  read(keys_, CoefficientPoint::centre, out.keys);
  read(values_, CoefficientPoint::middle, out.values);
  require(reader.ended(), "coded numbers end too late");
  return out;
}

}  // namespace alluvium::memory_bank
