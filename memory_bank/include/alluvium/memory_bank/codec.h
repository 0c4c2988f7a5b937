// Codec: how a chunk becomes a memory, and how memories become a prefix the decoder attends to.
//
// Purpose: one interface for the bare model ("none"), re-reading the text ("text", the retrieval-
//          augmented baseline) and stored keys and values ("kv"); later methods (mac, cmt) are more
//          members of the same registry.
// Threads: a Codec is immutable; calls may run on many threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/kv_prefix.h"
#include "alluvium/core/registry.h"
#include "alluvium/memory_bank/kv_basis.h"
#include "alluvium/memory_bank/memory.h"

namespace alluvium::memory_bank {

/// The prompt pieces every memory and question share, as tokens. The prefix is read once; its keys
/// and values are the attention sink.
struct SharedPrefix {
  /// First token is the sink, e.g. <|endoftext|>; not empty
  std::vector<backbone::TokenId> tokens;
  backbone::KvSegment segment;  ///< keys already rotated to positions 0..tokens-1
};

/// Reads `tokens` with the decoder and keeps their keys and values. Throws InvalidArgument when
/// empty.
SharedPrefix read_shared_prefix(const backbone::Decoder& decoder,
                                std::vector<backbone::TokenId> tokens);

/// What `kv` keeps of a chunk, and how. A preset names all of it; single keys override it.
struct CodecOptions {
  /// lossless | safe | default | compact | tiny (memory_bank/src/kv/settings.cc has their settings)
  std::string preset = "lossless";
  double keep = 0;  ///< share of a chunk's rows kept over all layers and heads; 0 = as preset
  /// Who scores: repeat | expected_attention | tail | h2o | zipcache | keydiff | random; "preset"
  std::string observer = "preset";
  /// How rows are shared out: global | curves | uniform | pyramid | d2o; "preset"
  std::string budget = "preset";
  int64_t key_bits = 0;     ///< 2, 3, 4, 8, 16 or 32; 0 = as preset
  int64_t value_bits = 0;   ///< likewise
  double key_channels = 0;  ///< share of a key's channels kept, in pairs, (0, 1]; 0 = as preset
  int64_t boundary_bits =
      0;                   ///< least bits in the first and last two layers, 2 to 8; 0 = as preset
  int64_t key_group = 0;   ///< kept rows that share a key channel's scale, to 4096; 0 = as preset
  int64_t scale_bits = 0;  ///< of each quantised scale and minimum, 8 or 16; 0 = as preset
  /// What becomes of evicted rows: none (lost) | values (their values join the nearest kept row's) |
  /// neighbours (runs of like rows become one) | d2o | ems (rows join the kept ones they are most like,
  /// wherever those stand) | compensation (a layer and head's become one); "preset"
  std::string merge = "preset";
  /// Rank of what is stored, for each head, of the difference that quantised keys and values have to
  /// the exact ones, to 256; 0: nothing. Of no effect on what is not quantised
  int64_t residual_rank = 0;
  /// Bits of the rows that are not kept: 2, 3 or 4; 0: they are lost. Needs quantised rows, no merge
  int64_t tail_bits = 0;
  /// What codes stand for: minmax (keys a range for each channel and group of rows, values one a row) |
  /// cachegen (one a row, as wide below 0 as above) | transform (steps along the directions of a basis,
  /// coded by how likely each is); "preset": transform where there is a basis and no setting here asks
  /// for bits, groups, channels, a residual, a tail or a coder; else minmax. The first two are of no
  /// effect on what is not quantised
  std::string quantiser = "preset";
  double key_step = 0;    ///< of transform (TransformSteps), [0.01, 10]; 0 = as preset
  double value_step = 0;  ///< likewise
  /// A file of alluvium train basis; "auto": the installed one, if it was fitted to this decoder;
  /// "none"
  std::string basis = "auto";
  /// What stored bytes are coded with, without a change of what is read back: none | zstd | rans;
  /// "preset"
  std::string entropy = "preset";
  /// Share of the chunks that are stored with the next larger preset, those that lose most; 0: none
  double richer_share = 0.01;
  /// Tokens of a chunk by whose likelihood its loss is measured; 0 measures nothing
  int64_t quality_tokens = 12;
  /// Several documents: parallel (each right after the prefix, order does not matter) | sequential
  /// (one after the other, best document last)
  std::string positions = "parallel";
  /// Of document slots when two or more documents stand in parallel (APE's T)
  double temperature = 1.0;
  double lse_scale = 1.0;  ///< likewise (APE's S)
};

/// CodecOptions::positions: each document right after the prefix, or one after the other.
enum class PositionScheme { parallel, sequential };

/// The words of CodecOptions::preset, largest memories first.
std::vector<std::string> kv_presets();

/// Throws InvalidArgument naming a key, its value and its bound.
void check_codec_options(const CodecOptions& options);

/// What a codec needs to live; referenced objects must outlive it.
struct CodecContext {
  const backbone::Decoder* decoder = nullptr;
  const backbone::Tokenizer* tokenizer = nullptr;
  const SharedPrefix* prefix = nullptr;
  CodecOptions options;
  const KvBasis* basis = nullptr;  ///< what options.basis names; null: none
};

class Codec {
 public:
  virtual ~Codec() = default;

  virtual const char* name() const = 0;

  /// Identity of everything a memory depends on: backbone, tokenizer, prefix tokens, codec, its
  /// storage settings. Load-time settings (positions, temperature, lse_scale) are not part of it.
  virtual const Digest& fingerprint() const = 0;

  /// What compress() makes now: of a codec whose settings can be switched, the fingerprint of those
  /// in force, while fingerprint() covers all that may be attended to together. The reference stays
  /// valid as long as the codec.
  virtual const Digest& aim() const { return fingerprint(); }

  /// Whether compress() yields tensors that must be stored (kv), or to_prefix() works from tokens
  /// alone (none, text).
  virtual bool stores_tensors() const = 0;

  /// One memory for each chunk, in order, read in one batch. Chunks must not be empty nor longer
  /// than the decoder allows.
  virtual std::vector<Memory> compress(std::span<const Chunk> chunks) const = 0;

  /// The prefix for a question over `memories`, best first, which stand as `scheme` says, or as the
  /// options' positions do when it is empty. No memories: the shared prefix alone.
  /// Throws InvalidArgument before computing when prefix, memories and `room` tokens of question
  /// and answer exceed the decoder's positions, and when a memory's fingerprint is not this codec's
  /// (kv).
  virtual backbone::KvPrefix to_prefix(std::span<const std::shared_ptr<const Memory>> memories,
                                       int64_t room,
                                       std::optional<PositionScheme> scheme) const = 0;
  backbone::KvPrefix to_prefix(std::span<const std::shared_ptr<const Memory>> memories,
                               int64_t room) const {
    return to_prefix(memories, room, std::nullopt);
  }
};

using CodecRegistry = Registry<Codec, const CodecContext&>;

/// Adds none, text and kv.
void register_codecs(CodecRegistry& registry);

}  // namespace alluvium::memory_bank
