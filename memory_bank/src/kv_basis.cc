#include "alluvium/memory_bank/kv_basis.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_inv_ex.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "alluvium/backbone/safetensors.h"
#include "alluvium/core/error.h"
#include "kv/chunk_attention.h"

namespace alluvium::memory_bank {
namespace {

/// Directions that queries use less than this, as a share of the most used one's square, count as much as this: their keys must not
/// grow without bound when they are written in units of what queries make of them.
constexpr double kLeastUse = 1e-4;
/// Queries are turned by every so many-th distance.
constexpr int64_t kDistanceStep = 8;

/// In place of an inverse that there is not.
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

const at::TensorOptions kDouble = at::TensorOptions().dtype(at::kDouble);

/// Covariances, float64 [layers, kv_heads, d, d].
at::Tensor covariance(const at::Tensor& squares, const at::Tensor& mean, double rows) {
  return squares / rows - mean.unsqueeze(-1) * mean.unsqueeze(-2);
}

/// The symmetric root of positive matrices.
at::Tensor root(const at::Tensor& matrices) {
  const auto [values, vectors] = at::linalg_eigh(matrices);
  const at::Tensor least = values.narrow(-1, values.size(-1) - 1, 1) * kLeastUse;
  const at::Tensor roots = values.maximum(least).sqrt();
  return at::matmul(vectors * roots.unsqueeze(-2), vectors.transpose(-1, -2));
}

/// Principal directions as rows, the strongest first.
at::Tensor directions(const at::Tensor& covariances) {
  return std::get<1>(at::linalg_eigh(covariances)).flip(-1).transpose(-1, -2);
}

HeadBases complete(at::Tensor mean, at::Tensor analysis, at::Tensor spread) {
  HeadBases bases;
  bases.mean = std::move(mean);
  bases.analysis = analysis.to(at::kFloat).contiguous();
  const auto [inverse, singular] = at::linalg_inv_ex(analysis.to(at::kDouble));
  bases.synthesis = inverse.masked_fill(singular.ne(0).unsqueeze(-1).unsqueeze(-1), kNone)
                        .to(at::kFloat)
                        .contiguous();
  bases.spread = std::move(spread);
  return bases;
}

/// analysis: float64; it is rounded to bfloat16, as a file has it, before anything follows from it.
HeadBases bases_of(const at::Tensor& analysis, const at::Tensor& mean,
                   const at::Tensor& covariances) {
  const at::Tensor stored = analysis.to(at::kBFloat16).to(at::kDouble);
  const at::Tensor variances = at::matmul(at::matmul(stored, covariances), stored.transpose(-1, -2))
                                   .diagonal(0, -2, -1)
                                   .clamp_min(0);
  return complete(mean.to(at::kFloat).contiguous(), stored,
                  variances.sqrt().to(at::kFloat).contiguous());
}

Digest digest_of(const KvBasis& basis) {
  Sha256 digest;
  for (const HeadBases* bases : {&basis.keys, &basis.values}) {
    for (const at::Tensor* part : {&bases->mean, &bases->analysis, &bases->spread}) {
      digest.update(part->const_data_ptr(), part->nbytes());
    }
  }
  return digest.finish();
}

void check(const std::string& path, bool condition, const char* what) {
  if (!condition) {
    throw DataCorruption(fmt::format("{}: {}", path, what));
  }
}

HeadBases read_bases(const std::string& path, const backbone::TensorMap& tensors,
                     const std::string& name) {
  const auto tensor = [&](const char* part, at::ScalarType type) {
    const auto found = tensors.find(name + "." + part);
    check(path, found != tensors.end() && found->second.scalar_type() == type,
          "it is no basis of keys and values");
    return found->second.to(at::kFloat).contiguous();
  };
  const at::Tensor mean = tensor("mean", at::kFloat);
  const at::Tensor analysis = tensor("analysis", at::kBFloat16);
  const at::Tensor spread = tensor("spread", at::kFloat);
  check(path, mean.dim() == 3 && mean.numel() > 0 && spread.sizes() == mean.sizes(),
        "its tensors do not fit each other");
  std::vector<int64_t> square = mean.sizes().vec();
  square.push_back(square.back());
  check(path, analysis.sizes() == at::IntArrayRef(square), "its tensors do not fit each other");
  HeadBases bases = complete(mean, analysis, spread);
  for (const at::Tensor* part : {&bases.mean, &bases.analysis, &bases.synthesis, &bases.spread}) {
    check(path, at::isfinite(*part).all().item<bool>(),
          "it has no inverse, or numbers that are not finite");
  }
  check(path, spread.ge(0).all().item<bool>(), "a spread is negative");
  return bases;
}

}  // namespace

uint32_t KvBasis::mark() const {
  uint32_t mark;
  std::memcpy(&mark, digest.data(), sizeof(mark));
  return mark;
}

void save_kv_basis(const std::string& path, const KvBasis& basis) {
  backbone::TensorMap tensors;
  for (const auto& [name, bases] : {std::pair{"keys", &basis.keys}, {"values", &basis.values}}) {
    tensors[fmt::format("{}.mean", name)] = bases->mean;
    tensors[fmt::format("{}.analysis", name)] = bases->analysis.to(at::kBFloat16);
    tensors[fmt::format("{}.spread", name)] = bases->spread;
  }
  at::Tensor model = at::zeros({4}, at::TensorOptions().dtype(at::kLong));
  std::memcpy(model.mutable_data_ptr(), basis.model.data(), basis.model.size());
  tensors["model"] = model;
  backbone::write_safetensors(path, tensors);
}

KvBasis load_kv_basis(const std::string& path) {
  const backbone::TensorMap tensors = backbone::load_safetensors(path);
  KvBasis basis;
  const auto model = tensors.find("model");
  check(path,
        model != tensors.end() && model->second.scalar_type() == at::kLong &&
            model->second.nbytes() == basis.model.size(),
        "it names no model");
  std::memcpy(basis.model.data(), model->second.const_data_ptr(), basis.model.size());
  basis.keys = read_bases(path, tensors, "keys");
  basis.values = read_bases(path, tensors, "values");
  check(path, basis.keys.mean.sizes() == basis.values.mean.sizes(),
        "its tensors do not fit each other");
  basis.digest = digest_of(basis);
  return basis;
}

KvBasisFit::KvBasisFit(const backbone::Decoder& decoder) : decoder_(decoder) {
  const backbone::DecoderGeometry& of = decoder.geometry();
  for (Moments* moments : {&keys_, &values_, &queries_, &asked_}) {
    moments->sum = at::zeros({of.layers, of.kv_heads, of.head_dim}, kDouble);
    moments->squares = at::zeros({of.layers, of.kv_heads, of.head_dim, of.head_dim}, kDouble);
  }
}

/// rows: [layers, heads, n, head_dim]; query heads of a group stand side by side.
void KvBasisFit::Moments::add(const at::Tensor& rows) {
  const at::Tensor host = rows.to(kDouble.device(at::kCPU));
  if (!at::isfinite(host).all().item<bool>()) {
    throw NumericError("keys, values or queries of a text are not finite");
  }
  const at::Tensor grouped = host.reshape({sum.size(0) * sum.size(1), -1, sum.size(2)});
  sum += grouped.sum(1).reshape(sum.sizes());
  squares += at::bmm(grouped.transpose(1, 2), grouped).reshape(squares.sizes());
}

void KvBasisFit::add(const backbone::ReadResult& reading) {
  ALLUVIUM_CHECK(reading.keys.defined() && reading.values.defined() && reading.queries.defined(),
                 "a basis is fitted to readings with keys, values and queries");
  keys_.add(reading.keys);
  values_.add(reading.values);
  queries_.add(reading.queries);
  rows_ += reading.keys.size(2);
}

void KvBasisFit::add_question(const at::Tensor& queries) {
  asked_.add(queries);
  asked_rows_ += queries.size(2);
}

KvBasis KvBasisFit::finish() const {
  const backbone::DecoderGeometry& of = decoder_.geometry();
  ALLUVIUM_CHECK(rows_ >= 4 * of.head_dim, "a basis needs {} tokens of text at least, got {}",
                 4 * of.head_dim, rows_);
  const auto rows = static_cast<double>(rows_);
  const auto group = static_cast<double>(of.heads / of.kv_heads);

  // What a query's square does to a key before rotation, over distances: R(t) q q^T R(t)^T / d.
  const backbone::Rope rope = rope_of(decoder_);
  at::Tensor second = queries_.squares / (rows * group);
  if (asked_rows_ > 0) {
    const at::Tensor asked = asked_.squares / (static_cast<double>(asked_rows_) * group);
    second = (second + kQuestionWeight * asked) / (1 + kQuestionWeight);
  }
  second = second / static_cast<double>(of.head_dim);
  const int64_t distances = std::min(kDistances, of.max_positions);
  const at::Tensor eye = at::eye(of.head_dim, kDouble).to(at::kFloat).unsqueeze(1);
  at::Tensor use = at::zeros_like(second);
  int64_t turns = 0;
  for (int64_t t = 0; t < distances; t += kDistanceStep, ++turns) {
    const at::Tensor position = at::full({1}, t, at::TensorOptions().dtype(at::kLong));
    const at::Tensor turned = rope.rotate(eye, position).squeeze(1).to(at::kDouble);  // rows: R e_i
    use += at::matmul(at::matmul(turned.t(), second), turned);
  }
  const at::Tensor weight = root(use / static_cast<double>(turns));

  KvBasis basis;
  basis.model = decoder_.model();
  const at::Tensor key_mean = keys_.sum / rows;
  const at::Tensor key_covariance = covariance(keys_.squares, key_mean, rows);
  const at::Tensor weighed = at::matmul(at::matmul(weight, key_covariance), weight);
  basis.keys = bases_of(at::matmul(directions(weighed), weight), key_mean, key_covariance);
  const at::Tensor value_mean = values_.sum / rows;
  const at::Tensor value_covariance = covariance(values_.squares, value_mean, rows);
  basis.values = bases_of(directions(value_covariance), value_mean, value_covariance);
  basis.digest = digest_of(basis);
  return basis;
}

}  // namespace alluvium::memory_bank
