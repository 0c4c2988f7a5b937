// The arithmetic of the observers, on plain tensors.
//
// Threads: pure functions; float32 in and out.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace alluvium::memory_bank {

enum class Pooling { average, maximum };

/// SnapKV's vote: weights [kv_heads, group, queries, n] -> mean over queries, pooling along n with a
/// kernel of odd size, stride 1 (the average counts zeros past the ends), mean over the group:
/// [kv_heads, n].
at::Tensor vote(const at::Tensor& weights, int64_t kernel, Pooling pooling);

/// ZipCache's saliency: weights [kv_heads, group, probes, n] of the tokens `probes`, int64 [probes],
/// causal -> the mass a row received over the number of probes at or after it, mean over the group:
/// [kv_heads, n]; 0 for a row that no probe can see.
at::Tensor probe_saliency(const at::Tensor& weights, const at::Tensor& probes);

/// KeyDiff: -cos(k_j, mean of the normalised keys); keys [..., n, d] -> [..., n].
at::Tensor difference_scores(const at::Tensor& keys);

/// Expected Attention's logits: k.mean / sqrt(d) + k^T covariance k / (2 d); keys [..., n, d],
/// mean [..., d], covariance [..., d, d] -> [..., n].
at::Tensor expected_logits(const at::Tensor& keys, const at::Tensor& mean,
                           const at::Tensor& covariance);

}  // namespace alluvium::memory_bank
