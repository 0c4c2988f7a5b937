// Which tokens of documents read apart miss most of what stands before them.
//
// Source : CacheBlend (Yao et al., EuroSys 2025), section 4: the tokens whose values change most in
//          an early layer are those that change most in the later ones.
// Differs: ties go to the earlier token: our choice, so that results repeat.
// Threads: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace alluvium::backbone {

/// Squared distance of each token's values over all heads and channels: stored, fresh [kv_heads, n,
/// head_dim] -> float32 [n].
at::Tensor value_deviation(const at::Tensor& stored, const at::Tensor& fresh);

/// `share` of n tokens, rounded down; share in [0, 1].
int64_t count_of_share(double share, int64_t n);

/// The `count` tokens of highest deviation [n], rising.
std::vector<int64_t> most_deviating(const at::Tensor& deviation, int64_t count);

}  // namespace alluvium::backbone
