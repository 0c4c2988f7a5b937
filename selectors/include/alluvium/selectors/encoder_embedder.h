// The backbone's sentence encoder as a TextEmbedder.
//
// Threads: immutable.
#pragma once

#include <memory>

#include "alluvium/selectors/text_embedder.h"

namespace alluvium::backbone {
class Encoder;
}

namespace alluvium::selectors {

std::unique_ptr<TextEmbedder> make_encoder_embedder(
    std::shared_ptr<const backbone::Encoder> encoder);

}  // namespace alluvium::selectors
