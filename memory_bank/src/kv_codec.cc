#include <utility>

#include <ATen/ops/all.h>
#include <ATen/ops/isfinite.h>

#include "alluvium/core/error.h"
#include "codec_base.h"
#include "prefix_layout.h"

namespace alluvium::memory_bank {
namespace {

at::ScalarType storage_type(const CodecContext& context) {
  const at::ScalarType compute =
      context.decoder != nullptr ? context.decoder->policy().dtype : at::kFloat;
  switch (context.options.kv_bits) {
    case 32:
      return at::kFloat;
    case 16:
      // bfloat16 has no more digits to give; float16 keeps three more of a float32.
      return compute == at::kBFloat16 ? at::kBFloat16 : at::kHalf;
    default:
      return compute;
  }
}

/// Reads a chunk once and keeps the pre-RoPE keys and the values of every layer.
///
/// Source : docs/ARCHITECTURE.md names the stages; lossless here: nothing is evicted, storage
/// rounds to 16 bits at most.
class KvCodec final : public CodecBase {
 public:
  explicit KvCodec(const CodecContext& context)
      : CodecBase(context, "kv", at::toString(storage_type(context))),
        storage_(storage_type(context)),
        scheme_(parse_position_scheme(context.options.positions)) {}

  const char* name() const override { return "kv"; }
  bool stores_tensors() const override { return true; }

  std::vector<Memory> compress(std::span<const Chunk> chunks) const override {
    std::vector<std::span<const backbone::TokenId>> texts;
    for (const Chunk& chunk : chunks) {
      texts.emplace_back(chunk.tokens);
    }
    const std::vector<backbone::ReadResult> results = read_after_prefix(texts);
    std::vector<Memory> memories;
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      Memory memory = remember_tokens(chunks[i]);
      memory.keys = to_storage(results[i].keys);
      memory.values = to_storage(results[i].values);
      memories.push_back(std::move(memory));
    }
    return memories;
  }

  backbone::KvPrefix to_prefix(std::span<const std::shared_ptr<const Memory>> memories,
                               int64_t room) const override {
    std::vector<int64_t> lengths;
    for (const auto& memory : memories) {
      ALLUVIUM_CHECK(memory->fingerprint == fingerprint(),
                     "a memory made under {} is not attended to by a model with {}",
                     to_hex(memory->fingerprint), to_hex(fingerprint()));
      ALLUVIUM_CHECK(memory->keys.defined() && memory->keys.size(2) == memory->length(),
                     "a memory of {} tokens lacks their keys", memory->length());
      lengths.push_back(memory->length());
    }
    const int64_t next = next_position(scheme_, prefix_length(), lengths);
    check_room(decoder().geometry(), next, room);
    return join_prefix(prefix(), place(memories), next, options());
  }

 private:
  std::vector<backbone::KvSegment> place(
      std::span<const std::shared_ptr<const Memory>> memories) const {
    std::vector<backbone::KvSegment> documents;
    int64_t first = prefix_length();
    // The best comes first from the caller and stands last in a sequence, next to the question.
    for (auto memory = memories.rbegin(); memory != memories.rend(); ++memory) {
      documents.push_back(place_document((*memory)->keys, (*memory)->values, first));
      if (scheme_ == PositionScheme::sequential) {
        first += (*memory)->length();
      }
    }
    return documents;
  }

  /// A tensor of its own on the CPU. Throws NumericError when a value is not finite: such a memory
  /// would poison every answer.
  at::Tensor to_storage(const at::Tensor& captured) const {
    const at::Tensor stored =
        captured.to(at::TensorOptions().dtype(storage_).device(at::kCPU)).contiguous();
    if (!at::isfinite(stored).all().item<bool>()) {
      throw NumericError(
          fmt::format("keys or values of a chunk are not finite in {}", at::toString(storage_)));
    }
    return stored;
  }

  const at::ScalarType storage_;
  const PositionScheme scheme_;
};

}  // namespace

std::unique_ptr<Codec> make_kv_codec(const CodecContext& context) {
  return std::make_unique<KvCodec>(context);
}

}  // namespace alluvium::memory_bank
