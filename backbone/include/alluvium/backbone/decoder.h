// A frozen autoregressive decoder: tokens in, keys, values, hidden states and logits out.
//
// Purpose: one call, read(), serves ingest (many documents, keys and values captured), questions (a
// few rows after a prefix) and decoding
//          (one row a step). Sequences of different lengths travel packed, without padding: linear
//          layers see all rows at once, attention sees one sequence at a time.
// Source : Llama (Touvron et al., 2023): RMSNorm, RoPE, grouped-query attention (Ainslie et al.,
// 2023), SwiGLU (Shazeer, 2020). Threads: a Decoder is immutable; read() may run on many threads
// with different caches. A KvCache belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "alluvium/backbone/adapter.h"
#include "alluvium/backbone/checkpoint.h"
#include "alluvium/backbone/device.h"
#include "alluvium/backbone/kv_prefix.h"
#include "alluvium/backbone/rope.h"
#include "alluvium/backbone/tokenizer.h"
#include "alluvium/core/sha256.h"

namespace alluvium::backbone {

struct DecoderGeometry {
  int64_t layers = 0;
  int64_t d_model = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t d_ff = 0;
  int64_t vocabulary = 0;
  int64_t max_positions = 0;
  double rope_base = 10000.0;
  double norm_epsilon = 1e-5;

  /// Bytes of keys and values of one token at `element_bytes` an element.
  int64_t kv_bytes_per_token(int64_t element_bytes) const {
    return 2 * layers * kv_heads * head_dim * element_bytes;
  }
};

/// The attention state of one sequence: a prefix, then every token read since.
class KvCache {
 public:
  /// Room for `capacity` slots. Tensors are made on `device` in `dtype`, not initialised.
  KvCache(const DecoderGeometry& geometry, int64_t capacity, at::ScalarType dtype,
          at::Device device);

  int64_t slots() const { return slots_; }
  /// Slots that a query attends to, the mean over layers and KV heads: less than slots() after a
  /// ragged segment.
  double mean_slots() const;
  int64_t capacity() const { return keys_.size(2); }
  int64_t next_position() const { return next_position_; }

  /// Forgets what was appended after the first `slots` slots; text continues at `next_position`.
  /// For asking again after one prefix.
  void rewind(int64_t slots, int64_t next_position);

 private:
  friend class LlamaDecoder;

  at::Tensor keys_;    // [layers, kv_heads, capacity, head_dim], rotated
  at::Tensor values_;  // [layers, kv_heads, capacity, head_dim]
  // float32 [capacity] or [layers, kv_heads, capacity]; undefined when every bias is 0
  at::Tensor log_bias_;
  // [layers * kv_heads]: the slots before are nobody's. Empty when all begin at 0. New tokens thus
  // stand at the same slot everywhere.
  std::vector<int64_t> begins_;
  int64_t slots_ = 0;
  int64_t next_position_ = 0;
  // Slots [context_begin_, context_end_) take temperature and scale; empty for plain attention.
  int64_t context_begin_ = 0;
  int64_t context_end_ = 0;
  double temperature_ = 1.0;
  double lse_scale_ = 1.0;

  bool attends_plainly() const {
    return context_begin_ >= context_end_ || (temperature_ == 1.0 && lse_scale_ == 1.0);
  }
};

enum class Logits { none, last, all };

/// One sequence of a read.
struct ReadRequest {
  KvCache* cache = nullptr;         ///< appended to; must have room for the tokens
  std::span<const TokenId> tokens;  ///< at least one
  Logits logits = Logits::none;
  bool capture = false;  ///< return pre-RoPE keys and values of these tokens
  bool hidden = false;   ///< return the last layer's hidden states, after the final norm
  const Adapter* adapter = nullptr;  ///< acts on these tokens; null = the bare decoder
  bool queries = false;              ///< return pre-RoPE queries of these tokens
  /// Return the highest attention weight of the cache's slots [observed_begin, observed_end), which
  /// were there before the read; an empty range observes nothing. The cache must be even, and its
  /// attention plain.
  int64_t observed_begin = 0;
  int64_t observed_end = 0;

  bool observes() const { return observed_end > observed_begin; }
};

/// Outcome for one request.
struct ReadResult {
  at::Tensor logits;  ///< float32 [vocabulary] (last) or [n, vocabulary] (all); undefined for none
  /// [layers, kv_heads, n, head_dim] pre-RoPE, compute dtype; undefined unless captured
  at::Tensor keys;
  at::Tensor values;   ///< [layers, kv_heads, n, head_dim]
  at::Tensor hidden;   ///< [n, d_model] float32; undefined unless asked for
  at::Tensor queries;  ///< [layers, heads, n, head_dim] pre-RoPE, compute dtype; as asked for
  /// float32 [layers, kv_heads, observed slots]: highest weight over the tokens read and over the
  /// query heads of a group; undefined unless asked for
  at::Tensor attention_maximum;
};

/// Text at the end of a cache whose keys and values were made of its parts, each read alone.
struct RepairRequest {
  KvCache* cache = nullptr;  ///< even and plain, slot i at position i; repaired where it stands
  std::span<const TokenId> tokens;  ///< of its last slots, at least one
  double share = 0;  ///< of the tokens, those recomputed in every layer, rounded down; in [0, 1]
};

/// Text at the end of a cache, some of whose rows are to be as what stands before them makes them now.
struct RecomputeRequest {
  KvCache* cache = nullptr;  ///< even and plain, slot i at position i; rows are replaced in it
  std::span<const TokenId> tokens;  ///< of its last slots, at least one
  std::span<const int64_t> rows;    ///< places among `tokens`, rising, at least one
  /// Tokens of the parts that the text consists of, each at least one; empty: attention is not measured
  std::span<const int64_t> parts;
};

/// Outcome for one request; `rows` as there.
struct RecomputedRows {
  at::Tensor keys;    ///< [layers, kv_heads, rows, head_dim] pre-RoPE, compute dtype
  at::Tensor values;  ///< shape and dtype of keys
  /// float32 [layers, rows, parts]: the attention weight that a row has on a part, the mean over query
  /// heads; what stands before the text takes the rest. Undefined without parts
  at::Tensor attention;
};

/// Tokens after a context, some of which a learner wants to be likelier.
struct ScoredSequence {
  const KvCache* context = nullptr;  ///< from start(); attended to and not changed, may be shared
  std::span<const TokenId> tokens;   ///< at least two
  int64_t scored_from = 1;           ///< tokens[scored_from..] are scored; in [1, tokens)
};

/// Dropout of the rows that enter an adapter (Hu et al., 2022).
struct AdapterDropout {
  double probability = 0;  ///< in [0, 1)
  uint64_t seed = 0;       ///< the same seed drops the same numbers
};

/// What statistics of single samples need from one negative_log_likelihood(): the rows that enter
/// and leave the frozen linear maps of one block, with a gradient graph from there to the loss.
struct ScoredTrace {
  /// Asked for: the block, in [0, layers). Nothing below it gets a gradient, nor do its own norms'
  /// inputs.
  int64_t layer = 0;

  struct Linear {
    at::Tensor input;   ///< [rows, in], compute dtype, x of y = W x
    at::Tensor output;  ///< [rows, out], compute dtype; the loss is differentiable in it
  };

  // Filled in.
  std::vector<Linear> linears;     ///< qkv, attention output, gate and up, down
  std::vector<int64_t> first_row;  ///< of each sequence, and the number of rows at the end
  std::vector<int64_t>
      first_score;    ///< of each sequence in the result, and their number at the end
  at::Tensor logits;  ///< [all scored tokens, vocabulary] float32 (float64), without a graph
};

class Decoder {
 public:
  virtual ~Decoder() = default;

  virtual const DecoderGeometry& geometry() const = 0;
  virtual const DevicePolicy& policy() const = 0;

  /// Identity of weights, geometry, rotary table and compute dtype: what a stored memory must match
  /// to be attended to.
  virtual const Digest& fingerprint() const = 0;

  /// Identity of weights and geometry alone: what an adapter must match. The same in every dtype.
  virtual const Digest& model() const = 0;

  /// A cache that holds `prefix` (keys rotated to their positions) and has room for `room` more
  /// tokens. Throws InvalidArgument when shapes do not fit the geometry or the prefix and the room
  /// exceed max_positions. Slots of a ragged segment cost each layer and head what it has, no more.
  virtual KvCache start(const KvPrefix& prefix, int64_t room) const = 0;

  /// Rows that read() takes in for little more than the price of one: where weights are read from
  /// memory for each pass, the work on a few rows hides behind it. 1 = a second row costs as much.
  virtual int64_t cheap_rows() const = 0;

  /// Reads every request's tokens in one batch and appends them to the caches. Results in request
  /// order. Throws InvalidArgument before any computing when a request is empty, a token lies
  /// outside the vocabulary, a cache lacks room or the positions would pass max_positions. Records
  /// no gradient.
  virtual std::vector<ReadResult> read(std::span<const ReadRequest> requests) const = 0;

  /// Makes keys and values of the `share` of tokens that miss most of what stands before them anew,
  /// without an adapter (CacheBlend, Yao et al., EuroSys 2025). Layer 0 and the keys and values of
  /// layer 1 are computed for all tokens, and kept; the tokens whose values in layer 1 changed most
  /// go on through all layers, attending to every slot up to their own. A share of 1 gives what
  /// reading the text in one piece does, one of 0 changes nothing. Returns their places among
  /// `tokens`, rising. Throws InvalidArgument before any computing when the cache is ragged, biased,
  /// has a temperature or does not end with that many tokens, and as read() does.
  virtual std::vector<int64_t> repair(const RepairRequest& request) const = 0;

  /// Makes keys and values of the rows asked for anew, without an adapter: they go through all layers
  /// together, attending to every slot up to their own, and nothing is computed of the others. All
  /// rows give what reading the text in one piece does. Throws InvalidArgument before any computing as
  /// repair() does, when the rows do not rise within the text and when the parts are not all of it.
  virtual RecomputedRows recompute(const RecomputeRequest& request) const = 0;

  /// The form in which read() multiplies an adapter. Throws InvalidArgument when it belongs to
  /// another model (state.model), its shapes do not fit or a number is not finite.
  virtual std::shared_ptr<const Adapter> prepare(const AdapterState& state) const = 0;

  /// -ln p of every scored token given its context and the tokens before it, float32 [all scored
  /// tokens], in order (float64 for a decoder in float64). Differentiable in the factors of
  /// `adapter` that require a gradient and in nothing else, when gradients are on. Sequences in
  /// succession that share a context are attended to together. Throws InvalidArgument as read()
  /// does, NotSupported for a context with a temperature. With a `trace` the result is
  /// differentiable in its outputs and in the factors of its layer and those above.
  virtual at::Tensor negative_log_likelihood(std::span<const ScoredSequence> sequences,
                                             const AdapterState& adapter,
                                             const AdapterDropout& dropout = {},
                                             ScoredTrace* trace = nullptr) const = 0;

  /// SHA-256 over all resident weights: equal before and after any sequence of calls.
  virtual Digest hash_weights() const = 0;
};

/// Builds the decoder of a checkpoint: Llama family (GGUF architecture "llama", Hugging Face
/// LlamaForCausalLM), tied or untied head. Throws NotSupported naming any other architecture,
/// DataCorruption when tensors are missing or mis-shaped.
std::unique_ptr<Decoder> load_decoder(const Checkpoint& checkpoint, const DevicePolicy& policy);

}  // namespace alluvium::backbone
