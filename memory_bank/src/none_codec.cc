#include "codec_base.h"
#include "prefix_layout.h"

namespace alluvium::memory_bank {
namespace {

/// The bare model: documents are kept and never attended to.
class NoneCodec final : public CodecBase {
 public:
  explicit NoneCodec(const CodecContext& context) : CodecBase(context, "none", "tokens") {}

  const char* name() const override { return "none"; }
  bool stores_tensors() const override { return false; }

  backbone::KvPrefix to_prefix(std::span<const std::shared_ptr<const Memory>>, int64_t room,
                               std::optional<PositionScheme>) const override {
    check_room(decoder().geometry(), prefix_length(), room);
    return join_prefix(prefix(), {}, 0, prefix_length(), PositionScheme::sequential, options());
  }
};

}  // namespace

std::unique_ptr<Codec> make_none_codec(const CodecContext& context) {
  return std::make_unique<NoneCodec>(context);
}

}  // namespace alluvium::memory_bank
