#include "alluvium/selectors/encoder_embedder.h"

#include <utility>

#include "alluvium/backbone/encoder.h"

namespace alluvium::selectors {
namespace {

class EncoderEmbedder final : public TextEmbedder {
 public:
  explicit EncoderEmbedder(std::shared_ptr<const backbone::Encoder> encoder)
      : encoder_(std::move(encoder)) {}

  std::vector<std::vector<float>> embed(std::span<const std::string> texts) const override {
    const at::Tensor embedded = encoder_->embed(texts).contiguous();
    const auto* values = embedded.const_data_ptr<float>();
    const int64_t dimension = encoder_->dimension();
    std::vector<std::vector<float>> rows;
    for (std::size_t i = 0; i < texts.size(); ++i, values += dimension) {
      rows.emplace_back(values, values + dimension);
    }
    return rows;
  }

 private:
  std::shared_ptr<const backbone::Encoder> encoder_;
};

}  // namespace

std::unique_ptr<TextEmbedder> make_encoder_embedder(
    std::shared_ptr<const backbone::Encoder> encoder) {
  return std::make_unique<EncoderEmbedder>(std::move(encoder));
}

}  // namespace alluvium::selectors
