// The Llama family behind the Decoder interface.
//
// Purpose: two paths over the same weights. read_packed() multiplies dense matrices with all rows
//          of all sequences at once; step() takes a few rows of one sequence through the
//          checkpoint's blocks with no tensor in between. Both append the same rotated keys and
//          values to the cache.
// Threads: immutable after construction.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "adapted_linear.h"
#include "alluvium/backbone/adapter.h"
#include "alluvium/backbone/decoder.h"
#include "attention.h"
#include "llama_weights.h"

namespace alluvium::backbone {

class LlamaDecoder final : public Decoder {
 public:
  LlamaDecoder(const Checkpoint& checkpoint, const DevicePolicy& policy);

  const DecoderGeometry& geometry() const override { return geometry_; }
  const DevicePolicy& policy() const override { return policy_; }
  const Digest& fingerprint() const override { return fingerprint_; }
  const Digest& model() const override { return model_; }
  KvCache start(const KvPrefix& prefix, int64_t room) const override;
  int64_t cheap_rows() const override;
  std::vector<ReadResult> read(std::span<const ReadRequest> requests) const override;
  std::vector<int64_t> repair(const RepairRequest& request) const override;
  RecomputedRows recompute(const RecomputeRequest& request) const override;
  std::shared_ptr<const Adapter> prepare(const AdapterState& state) const override;
  at::Tensor negative_log_likelihood(std::span<const ScoredSequence> sequences,
                                     const AdapterState& adapter, const AdapterDropout& dropout,
                                     ScoredTrace* trace) const override;
  Digest hash_weights() const override;

 private:
  // One request's rows in the packed batch.
  struct Slice {
    int64_t begin = 0;
    int64_t rows = 0;
    int64_t first_position = 0;
    AttentionView view;
  };

  /// Of the residual stream, which is never rounded to 16 bits.
  at::ScalarType residual_dtype() const {
    return policy_.dtype == at::kDouble ? at::kDouble : at::kFloat;
  }

  void check_tokens(std::span<const TokenId> tokens) const;
  void validate(std::span<const ReadRequest> requests) const;
  /// That a cache ends with these tokens, in a form whose rows can be replaced.
  void check_ends_with(const KvCache* cache, std::span<const TokenId> tokens) const;
  at::Tensor embed(std::span<const ReadRequest> requests) const;
  std::vector<Slice> slice(std::span<const ReadRequest> requests) const;

  /// Queries, keys and values of a layer's rows, [rows, (heads + 2 kv_heads) * head_dim].
  at::Tensor project(int64_t layer, const at::Tensor& x,
                     const std::vector<AdaptedRows>& adapted) const;

  /// Adds to `x` what the layer makes of it after attention.
  void finish_layer_(int64_t layer, const at::Tensor& x, const at::Tensor& attended,
                     const std::vector<AdaptedRows>& adapted) const;

  /// One sequence's rows of what project() gave, [rows, heads + 2 kv_heads, head_dim].
  at::Tensor rows_of(const at::Tensor& qkv, const Slice& slice) const;

  /// Writes one sequence's keys (rotated) and values to this layer's slots.
  void store_rows(int64_t layer, const at::Tensor& qkv, const Slice& slice,
                  const KvCache& cache) const;

  /// Rotates and stores this layer's new keys and values of one sequence, copies them out when
  /// captured, and attends.
  at::Tensor attend_sequence(int64_t layer, const at::Tensor& qkv, const Slice& slice,
                             const ReadRequest& request, ReadResult& result) const;
  /// Rows that stand at places of their own among the slots of a cache.
  struct Scattered {
    at::Tensor positions;  // int64 [rows], on the CPU
    AttentionView view;
    /// [kv_heads, slots, head_dim]s of 0 and 1: channel i tells the slots of part i of the text, so that
    /// attending to them for values gives each part's weight. Empty: not asked for
    std::vector<at::Tensor> part_marks;
  };
  Scattered scatter(const KvCache& cache, const at::Tensor& positions) const;
  std::vector<at::Tensor> mark_parts(const KvCache& cache, std::span<const int64_t> parts) const;

  /// The same for scattered rows. part_weights, if wanted: float32 [rows, parts], written.
  at::Tensor attend_scattered(int64_t layer, const at::Tensor& qkv, const Scattered& rows,
                              const KvCache& cache, const at::Tensor& part_weights) const;
  at::Tensor logits(const at::Tensor& hidden) const;

  std::vector<ReadResult> read_packed(std::span<const ReadRequest> requests) const;

  template <class T>
  at::Tensor step(KvCache& cache, std::span<const TokenId> tokens, Logits wanted,
                  const Adapter* adapter) const;

  DevicePolicy policy_;
  DecoderGeometry geometry_;
  Rope rope_;
  LlamaWeights weights_;
  bool has_blocks_;
  bool steps_few_;  ///< step() takes several rows
  Digest model_;
  Digest fingerprint_;
};

}  // namespace alluvium::backbone
