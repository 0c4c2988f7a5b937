// The directions in which keys and values vary.
#include <filesystem>
#include <fstream>

#include <ATen/ops/allclose.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>

#include "alluvium/backbone/safetensors.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "bank_fixtures.h"
#include "tiny_basis.h"

namespace alluvium::tests {
namespace {

using memory_bank::HeadBases;
using memory_bank::KvBasis;
using memory_bank::KvBasisFit;
using memory_bank::load_kv_basis;
using memory_bank::save_kv_basis;

constexpr int64_t kWidth = TinyLlama::kHeadWidth;

/// [layers, heads, n, head_dim]: independent normal numbers, channel c with deviation[c], around `mean`.
at::Tensor normal_rows(int64_t heads, int64_t n, const std::vector<double>& deviation, double mean,
                       uint64_t seed) {
  Random random(seed);
  const at::Tensor rows = at::full({TinyLlama::kLayers, heads, n, kWidth}, 0.0, at::kFloat);
  auto* number = rows.mutable_data_ptr<float>();
  for (int64_t i = 0; i < rows.numel(); ++i) {
    number[i] = static_cast<float>(mean + deviation[static_cast<std::size_t>(i % kWidth)] *
                                              random.normal());
  }
  return rows;
}

std::vector<double> deviations(double one, std::size_t at, double others) {
  std::vector<double> all(kWidth, others);
  all[at] = one;
  return all;
}

backbone::ReadResult reading_of(at::Tensor keys, at::Tensor values, at::Tensor queries) {
  backbone::ReadResult reading;
  reading.keys = std::move(keys);
  reading.values = std::move(values);
  reading.queries = std::move(queries);
  return reading;
}

}  // namespace

TEST_CASE(
    "basis: the first direction is the one that varies most, and coordinates hang together no more",
    "[memory_bank][kv][transform]") {
  const TinyModel model;
  const auto basis = fit_basis(model);
  CHECK(basis->layers() == TinyLlama::kLayers);
  CHECK(basis->kv_heads() == TinyLlama::kKvHeads);
  CHECK(basis->head_dim() == kWidth);
  CHECK(basis->model == model.decoder->model());
  for (const HeadBases* bases : {&basis->keys, &basis->values}) {
    const at::Tensor identity = at::matmul(bases->analysis, bases->synthesis);
    CHECK(at::allclose(identity, at::eye(kWidth).expand_as(identity), 1e-4, 1e-4));
  }
  // Against the covariance of the same rows, taken the slow way.
  std::vector<at::Tensor> rows;
  for (TokenId first = 0; first < 10; ++first) {
    rows.push_back(read_with_queries(model, chunk_of(11 * first, 50).tokens).values[1][0]);
  }
  const at::Tensor values = at::cat(rows).to(at::kDouble);
  const at::Tensor centred = values - values.mean(0);
  CHECK(at::allclose(basis->values.mean[1][0].to(at::kDouble), values.mean(0), 1e-5, 1e-6));
  const at::Tensor coordinates =
      at::matmul(centred, basis->values.analysis[1][0].to(at::kDouble).t());
  const at::Tensor covariance = at::matmul(coordinates.t(), coordinates) / 500;
  const at::Tensor variances = covariance.diagonal();
  CHECK(at::allclose(basis->values.spread[1][0].to(at::kDouble).square(), variances, 1e-3, 1e-6));
  // bfloat16 directions are orthogonal to a part in some hundred.
  const double largest = variances.max().item<double>();
  CHECK((covariance - variances.diag()).abs().max().item<double>() < 0.02 * largest);
  CHECK(variances[0].item<double>() > variances[kWidth - 1].item<double>());
}

TEST_CASE("basis: a key's direction counts by what queries make of it",
          "[memory_bank][kv][transform]") {
  const TinyModel model;
  // Keys vary alike in every channel; queries use the pair of channel 1 ten times as much.
  const at::Tensor keys = normal_rows(TinyLlama::kKvHeads, 2000, deviations(1, 0, 1), 4, 1);
  const at::Tensor values = normal_rows(TinyLlama::kKvHeads, 2000, deviations(3, 2, 1), -2, 2);
  const at::Tensor queries = normal_rows(TinyLlama::kHeads, 2000, deviations(10, 1, 1), 0, 3);
  KvBasisFit fit(*model.decoder);
  fit.add(reading_of(keys, values, queries));
  CHECK(fit.rows() == 2000);
  const KvBasis basis = fit.finish();
  CHECK(at::allclose(basis.keys.mean, at::full(basis.keys.mean.sizes(), 4.0), 0, 0.1));
  // Rotation by any distance mixes channel 1 with its pair: the first two coordinates are of those two.
  const at::Tensor first = basis.keys.analysis.narrow(2, 0, 2).abs();
  const int64_t other = 1 + kWidth / 2;
  const at::Tensor in_pair = first.select(-1, 1) + first.select(-1, other);
  CHECK((in_pair / first.sum(-1)).min().item<double>() > 0.8);
  // Spread is in logits: E (q k)^2 / d over channels that queries use alike is q^2 k^2 / d each.
  const double plain = basis.keys.spread[0][0][kWidth - 1].item<double>();
  CHECK_THAT(plain, Catch::WithinRel(1 / std::sqrt(static_cast<double>(kWidth)), 0.1));
  // Values: the channel that varies three times as much comes first, as it is.
  const at::Tensor value = basis.values.analysis.narrow(2, 0, 1).squeeze(2).abs();
  CHECK(value.select(-1, 2).min().item<double>() > 0.99);
  CHECK(at::allclose(basis.values.spread.select(-1, 0),
                     at::full({TinyLlama::kLayers, TinyLlama::kKvHeads}, 3.0), 0.1));

  // What questions ask outweighs what the text itself asks.
  fit.add_question(normal_rows(TinyLlama::kHeads, 500, deviations(30, 3, 1), 0, 4));
  const at::Tensor asked = fit.finish().keys.analysis.select(2, 0).abs();
  const at::Tensor in_asked = asked.select(-1, 3) + asked.select(-1, 3 + kWidth / 2);
  CHECK((in_asked / asked.sum(-1)).min().item<double>() > 0.8);
}

TEST_CASE("basis: it comes back from a file as it was", "[memory_bank][kv][transform]") {
  const TinyModel model;
  const auto basis = fit_basis(model);
  const std::string path = model.directory / "basis.safetensors";
  save_kv_basis(path, *basis);
  const KvBasis loaded = load_kv_basis(path);
  CHECK(loaded.digest == basis->digest);
  CHECK(loaded.model == basis->model);
  CHECK(loaded.mark() == basis->mark());
  CHECK(same_bits(loaded.keys.analysis, basis->keys.analysis));
  CHECK(same_bits(loaded.keys.synthesis, basis->keys.synthesis));
  CHECK(same_bits(loaded.values.spread, basis->values.spread));
}

TEST_CASE("basis: what is none is said", "[memory_bank][kv][transform]") {
  const TinyModel model;
  const std::string path = model.directory / "basis.safetensors";
  CHECK_THROWS_AS(load_kv_basis(model.directory / "nowhere"), InvalidArgument);
  save_kv_basis(path, *fit_basis(model));
  const backbone::TensorMap good = backbone::load_safetensors(path);
  const auto refuse = [&](const char* what, auto&& change) {
    backbone::TensorMap tensors = good;
    change(tensors);
    backbone::write_safetensors(path, tensors);
    CHECK_THROWS_WITH(load_kv_basis(path), Catch::Contains(what));
    CHECK_THROWS_AS(load_kv_basis(path), DataCorruption);
  };
  refuse("names no model", [](auto& tensors) { tensors.erase("model"); });
  refuse("no basis", [](auto& tensors) { tensors.erase("values.spread"); });
  refuse("no basis",
         [](auto& tensors) { tensors["keys.mean"] = tensors["keys.mean"].to(at::kBFloat16); });
  refuse("do not fit", [](auto& tensors) {
    tensors["keys.mean"] = tensors["keys.mean"].narrow(2, 0, 2).contiguous();
  });
  refuse("no inverse", [](auto& tensors) {
    tensors["keys.analysis"] = at::zeros_like(tensors["keys.analysis"]);
  });
  refuse("negative", [](auto& tensors) { tensors["keys.spread"] = -tensors["keys.spread"]; });
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  CHECK_THROWS_AS(load_kv_basis(path), DataCorruption);

  KvBasisFit fit(*model.decoder);
  backbone::ReadResult reading = read_with_queries(model, chunk_of(3, 4 * kWidth - 1).tokens);
  fit.add(reading);
  CHECK_THROWS_WITH(fit.finish(), Catch::Contains(std::to_string(4 * kWidth)));
  reading.values = reading.values.clone();
  reading.values[0][0][0][0] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(fit.add(reading), NumericError);
  reading.queries = at::Tensor();
  CHECK_THROWS_AS(fit.add(reading), InvalidArgument);
}

}  // namespace alluvium::tests
