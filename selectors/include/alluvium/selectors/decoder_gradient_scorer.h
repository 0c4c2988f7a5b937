// Gradient sketches and token scores of a frozen decoder.
//
// Purpose: for each frozen linear map y = W x of one block, the sample's gradient is G = sum over t of delta_t x_t^T; its sketch is
//          S = (A delta)^T (C x) / sqrt(a c) with fixed sign matrices A, C, so that <S1, S2> has the mean <G1, G2>. All maps' S beside one
//          another are the sample's vector. A whole batch goes through one forward and one backward pass, which ends at the block.
// Source : Adapt-inf (Maharana et al., ICLR 2025) with the two-sided projection of LoGra (Choe et al., 2024).
// Differs: the gradient is that of the frozen weights, not of low-rank factors, half of which have none while the other half is 0.
// Cost   : one forward, (layers - layer) / layers of a backward, rows * (a out + c in + a c) multiply-adds; one forward more of prompt and
//          answer for samples with a document; two more for those whose prompt a memory is recalled for.
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <memory>

#include "alluvium/selectors/gradient_scorer.h"

namespace alluvium::backbone {
class Decoder;
class Tokenizer;
struct AdapterState;
}  // namespace alluvium::backbone

namespace alluvium::selectors {

class MemoryRecall;

struct GradientScorerOptions {
  int64_t layer = -1;  ///< whose linear maps are sketched; -1 = the middle one
  int64_t sketch_side =
      11;  ///< a = c of each of the block's four matrices: 4 * 11^2 = 484 numbers; at least 1
  int64_t max_tokens =
      512;  ///< of a sample; documents are cut at their start, plain texts at their end; at least 8
  int64_t batch_tokens = 1024;                     ///< rows of one pass, one sample at least
  uint64_t seed = 0;                               ///< of the sign matrices
  std::shared_ptr<MemoryRecall> memory = nullptr;  ///< of dg_mem; null = no sample has that score
};

/// `adapter` is the state the model is in; null = the bare decoder. Factors are copied without their gradients. Throws InvalidArgument on
/// options outside their bounds.
std::unique_ptr<GradientScorer> make_decoder_gradient_scorer(
    std::shared_ptr<const backbone::Decoder> decoder,
    std::shared_ptr<const backbone::Tokenizer> tokenizer, const GradientScorerOptions& options,
    const backbone::AdapterState* adapter = nullptr);

}  // namespace alluvium::selectors
