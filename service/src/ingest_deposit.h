// A logged document made ready to commit: chunks, memories, retrieval keys.
//
// Threads: DepositMaker is immutable; calls may run on many threads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "alluvium/memory_bank/codec.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/service/configuration.h"
#include "alluvium/service/engine.h"

namespace alluvium::service {

/// A document cut and tokenised, before any model ran.
struct PlannedPut {
  memory_bank::LogEntry entry;
  std::vector<memory_bank::Chunk> chunks;
  std::vector<std::string> key_texts;
  int64_t tokens = 0;     ///< of all chunks
  bool deferred = false;  ///< too long to hold its memories at once: the re-make thread adds them
                          ///< after the commit
};

/// Unit rows of `texts`, [texts, dimension], embedded a bounded number at a time.
std::vector<float> embed_keys(const backbone::Encoder& encoder, std::span<const std::string> texts);

/// Memories of `chunks` in order, read at most `batch_tokens` at a time (a longer chunk is read
/// alone).
std::vector<memory_bank::Memory> compress_chunks(const memory_bank::Codec& codec,
                                                 std::span<const memory_bank::Chunk> chunks,
                                                 int64_t batch_tokens);

class DepositMaker {
 public:
  /// References must outlive it.
  DepositMaker(const Models& models, const memory_bank::Codec& codec,
               const TemplateConfiguration& prompt, const IngestConfiguration& options);

  /// Cuts and tokenises. Throws InvalidArgument on a document that does not fit the template (its
  /// title fills half a chunk).
  PlannedPut plan(memory_bank::LogEntry entry) const;

  /// Runs the models over all documents together. Throws NumericError when a memory or key is not
  /// finite.
  std::vector<memory_bank::Deposit> make(std::span<const PlannedPut> puts) const;

 private:
  const Models& models_;
  const memory_bank::Codec& codec_;
  const TemplateConfiguration& prompt_;
  const IngestConfiguration& options_;
};

}  // namespace alluvium::service
