#include "codec_base.h"
#include "prefix_layout.h"

namespace alluvium::memory_bank {
namespace {

using Tokens = std::span<const backbone::TokenId>;

/// Keeps tokens and reads them again for every question: the exact reading in the compute dtype,
/// and the baseline of all others.
class TextCodec final : public CodecBase {
 public:
  explicit TextCodec(const CodecContext& context)
      : CodecBase(context, "text", "tokens"),
        scheme_(parse_position_scheme(context.options.positions)) {}

  const char* name() const override { return "text"; }
  bool stores_tensors() const override { return false; }

  backbone::KvPrefix to_prefix(std::span<const std::shared_ptr<const Memory>> memories,
                               int64_t room, std::optional<PositionScheme> asked) const override {
    const PositionScheme scheme = asked.value_or(scheme_);
    std::vector<int64_t> lengths;
    for (const auto& memory : memories) {
      lengths.push_back(memory->length());
    }
    const int64_t next = next_position(scheme, prefix_length(), lengths);
    check_room(decoder().geometry(), next, room);
    auto documents = scheme == PositionScheme::parallel ? read_side_by_side(memories)
                                                        : read_in_sequence(memories);
    return join_prefix(prefix(), std::move(documents), memories.size(), next, scheme, options());
  }

 private:
  std::vector<backbone::KvSegment> read_side_by_side(
      std::span<const std::shared_ptr<const Memory>> memories) const {
    std::vector<Tokens> texts;
    for (const auto& memory : memories) {
      texts.emplace_back(memory->tokens);
    }
    return read(texts);
  }

  /// One text of all documents, best last: each attends to those before it, as a reader would.
  std::vector<backbone::KvSegment> read_in_sequence(
      std::span<const std::shared_ptr<const Memory>> memories) const {
    const std::vector<backbone::TokenId> joined = sequence_tokens(memories);
    const std::vector<Tokens> texts(joined.empty() ? 0 : 1, joined);
    return read(texts);
  }

  std::vector<backbone::KvSegment> read(std::span<const Tokens> texts) const {
    std::vector<backbone::KvSegment> segments;
    for (const backbone::ReadResult& result : read_after_prefix(texts)) {
      segments.push_back(place_document(result.keys, result.values, prefix_length()));
    }
    return segments;
  }

  const PositionScheme scheme_;
};

}  // namespace

std::unique_ptr<Codec> make_text_codec(const CodecContext& context) {
  return std::make_unique<TextCodec>(context);
}

}  // namespace alluvium::memory_bank
