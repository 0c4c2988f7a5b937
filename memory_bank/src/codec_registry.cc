#include "codec_base.h"

namespace alluvium::memory_bank {

void register_codecs(CodecRegistry& registry) {
  registry.add("none", make_none_codec);
  registry.add("text", make_text_codec);
  registry.add("kv", make_kv_codec);
}

}  // namespace alluvium::memory_bank
