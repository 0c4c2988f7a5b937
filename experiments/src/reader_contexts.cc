#include "reader_contexts.h"

#include <map>
#include <utility>

#include <c10/core/InferenceMode.h>

#include "alluvium/service/prompt.h"

namespace alluvium::experiments {

using memory_bank::Memory;

ReaderContexts::ReaderContexts(const service::Models& models,
                               const service::TemplateConfiguration& prompt,
                               const std::vector<memory_bank::CodecOptions>& codecs,
                               const MemoryFolder* folder)
    : models_(models), folder_(folder) {
  const c10::InferenceMode no_gradient;
  prefix_ = memory_bank::read_shared_prefix(
      *models.decoder, service::prefix_tokens(prompt, *models.decoder_tokenizer));
  memory_bank::CodecRegistry registry("codec");
  memory_bank::register_codecs(registry);
  for (const memory_bank::CodecOptions& options : codecs) {
    codecs_.push_back(registry.make("kv", {.decoder = models.decoder.get(),
                                           .tokenizer = models.decoder_tokenizer.get(),
                                           .prefix = &prefix_,
                                           .options = options,
                                           .basis = models.basis.get()}));
  }
}

std::vector<backbone::KvCache> ReaderContexts::make(std::span<const Reading> readings,
                                                    const std::vector<ReaderDocument>& documents,
                                                    int64_t room) const {
  const c10::InferenceMode no_gradient;
  std::map<std::pair<std::size_t, std::size_t>, std::shared_ptr<const Memory>> memories;
  for (std::size_t codec = 0; codec < codecs_.size(); ++codec) {
    std::vector<std::size_t> wanted;
    std::vector<memory_bank::Chunk> chunks;
    for (const Reading& reading : readings) {
      for (const std::size_t document : reading.documents) {
        if (reading.codec == codec && memories.count({codec, document}) == 0) {
          auto& memory = memories[{codec, document}];
          if (folder_ != nullptr) {
            memory = folder_->find(codecs_[codec]->fingerprint(),
                                   memory_bank::hash_tokens(documents[document].tokens));
          }
          if (memory) {
            continue;
          }
          wanted.push_back(document);
          chunks.push_back({.begin = 0,
                            .end = documents[document].text.size(),
                            .tokens = documents[document].tokens});
        }
      }
    }
    std::vector<Memory> made = codecs_[codec]->compress(chunks);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (folder_ != nullptr) {
        folder_->keep(made[i]);
      }
      memories[{codec, wanted[i]}] = std::make_shared<const Memory>(std::move(made[i]));
    }
  }
  std::vector<backbone::KvCache> caches;
  for (const Reading& reading : readings) {
    std::vector<std::shared_ptr<const Memory>> attended;
    for (const std::size_t document : reading.documents) {
      attended.push_back(memories.at({reading.codec, document}));
    }
    caches.push_back(
        models_.decoder->start(codecs_[reading.codec]->to_prefix(attended, room), room));
  }
  return caches;
}

}  // namespace alluvium::experiments
