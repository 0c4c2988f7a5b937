// The memories that training questions are asked over, as caches ready to be attended to.
//
// Threads: owned by the thread that trains.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "alluvium/backbone/decoder.h"
#include "alluvium/memory_bank/codec.h"
#include "alluvium/service/configuration.h"
#include "alluvium/service/engine.h"
#include "memory_folder.h"
#include "reader_examples.h"

namespace alluvium::experiments {

class ReaderContexts {
 public:
  /// One codec for each of `codecs`, "kv" with these options. Memories are kept in `folder` (null: nowhere). `models` and `folder` must
  /// outlive it.
  ReaderContexts(const service::Models& models, const service::TemplateConfiguration& prompt,
                 const std::vector<memory_bank::CodecOptions>& codecs,
                 const MemoryFolder* folder = nullptr);

  /// One cache for each reading, with room for `room` tokens: the documents' memories by the reading's codec, made by the bare decoder in
  /// one batch where they are not in the folder.
  std::vector<backbone::KvCache> make(std::span<const Reading> readings,
                                      const std::vector<ReaderDocument>& documents,
                                      int64_t room) const;

 private:
  const service::Models& models_;
  const MemoryFolder* folder_;
  memory_bank::SharedPrefix prefix_;
  std::vector<std::unique_ptr<memory_bank::Codec>> codecs_;
};

}  // namespace alluvium::experiments
