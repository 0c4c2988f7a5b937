// Where the segments of a prefix stand in the slots of a cache.
//
// Purpose: even segments stand one after the other, those of a context together, so that attention
//          takes them as one range. With a ragged segment the context comes first and is aligned to
//          its end: each layer and head begins at a slot of its own, has no gap after it, and all
//          go on at one slot.
// Threads: immutable; refers to the prefix it was made of.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/kv_prefix.h"
#include "alluvium/backbone/rope.h"

namespace alluvium::backbone {

class CachePlan {
 public:
  /// Throws InvalidArgument when shapes do not fit the geometry. `prefix` must outlive the plan.
  CachePlan(const KvPrefix& prefix, const DecoderGeometry& geometry);

  int64_t slots() const { return slots_; }
  /// [layers * kv_heads] first slots; empty when all are 0.
  const std::vector<int64_t>& begins() const { return begins_; }
  int64_t context_begin() const { return context_begin_; }
  int64_t context_end() const { return context_end_; }

  /// Zeros of the shape the segments' biases need; undefined when none has one.
  at::Tensor make_log_bias(int64_t capacity, at::Device device) const;

  /// Writes every segment's keys (rotated), values and biases to its slots of
  /// [layers, kv_heads, capacity, head_dim] and log_bias.
  void fill_(const Rope& rope, const at::Tensor& keys, const at::Tensor& values,
             const at::Tensor& log_bias) const;

 private:
  void check(const KvSegment& segment) const;
  void fill_even_(const KvSegment& segment, int64_t first, const Rope& rope, const at::Tensor& keys,
                  const at::Tensor& values, const at::Tensor& log_bias) const;

  const DecoderGeometry& geometry_;
  std::vector<const KvSegment*> ordered_;
  std::vector<int64_t> begins_;
  int64_t slots_ = 0;
  int64_t context_begin_ = 0;
  int64_t context_end_ = 0;
};

}  // namespace alluvium::backbone
