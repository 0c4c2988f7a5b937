// Low-rank adapters beside a decoder's frozen matrices.
//
// Purpose: what a learner trains and a file holds (AdapterState), and the form in which one decoder
//          multiplies it (Adapter). An adapter acts on the tokens of the reads that name it and on
//          no others: memories are read without one, so no adapter ever makes them stale.
// Source : LoRA, Hu et al., ICLR 2022, eq. 3: y = W x + scale * B A x, where scale is alpha / rank,
//          or alpha / sqrt(rank) for the rank-stabilised form (Kalajdzievski, 2023).
// Differs: none in the arithmetic; q, k, v and gate, up are multiplied as one matrix each, as the
//          decoder's own weights are.
// Threads: AdapterState is plain data; an Adapter is immutable.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/core/sha256.h"

namespace alluvium::backbone {

struct DecoderGeometry;
class LowRankBlocks;

/// The linear maps of a Llama block, by their names in Hugging Face checkpoints.
enum class Projection { q, k, v, o, gate, up, down };

constexpr std::size_t kProjections = 7;
constexpr std::array<Projection, kProjections> kAllProjections = {
    Projection::q,    Projection::k,  Projection::v,   Projection::o,
    Projection::gate, Projection::up, Projection::down};

/// "q_proj" and so on.
const char* to_string(Projection projection);

/// Throws InvalidArgument naming the known words.
Projection parse_projection(std::string_view name);

struct ProjectionShape {
  int64_t out = 0;
  int64_t in = 0;
};

ProjectionShape shape_of(const DecoderGeometry& geometry, Projection projection);

/// A and B of one matrix; both undefined where the adapter leaves the matrix alone.
struct LowRankFactors {
  at::Tensor a;  ///< [rank, in]
  at::Tensor b;  ///< [out, rank]

  bool defined() const { return a.defined(); }
};

/// The factors of one layer, indexed by Projection.
struct LayerFactors {
  std::array<LowRankFactors, kProjections> of;

  LowRankFactors& operator[](Projection p) { return of[static_cast<std::size_t>(p)]; }
  const LowRankFactors& operator[](Projection p) const { return of[static_cast<std::size_t>(p)]; }
};

struct AdapterState {
  Digest model{};                    ///< Decoder::model() of the decoder it belongs to
  double scale = 1.0;                ///< of every B A
  std::vector<LayerFactors> layers;  ///< one for each layer of the decoder
};

/// An AdapterState as one decoder multiplies it, on its device: in its compute dtype and, where that is bfloat16 and the processor has
/// AVX512-VNNI, in 8-bit codes as well, which decoded tokens and a question's few rows meet. Made by Decoder::prepare().
class Adapter {
 public:
  /// One of the decoder's stacked matrices: qkv, attention output, gate and up, down.
  struct Stacked {
    at::Tensor a;  ///< [r, in], r = ranks of the parts added up; undefined: no part has factors
    at::Tensor b;  ///< [out, r], scale included, zero outside the blocks of the parts
    /// Rows [first, second) of b that column r fills.
    std::vector<std::pair<int64_t, int64_t>> spans;
    std::shared_ptr<const LowRankBlocks> blocks;  ///< both factors in 8-bit codes, or null
    at::Tensor b_transposed;  ///< [r, out] contiguous, for products of few rows without blocks
  };

  struct Layer {
    Stacked qkv;
    Stacked attention_out;
    Stacked gate_up;
    Stacked down;
  };

  const std::vector<Layer>& layers() const { return layers_; }

 private:
  friend class LlamaDecoder;
  std::vector<Layer> layers_;
};

}  // namespace alluvium::backbone
