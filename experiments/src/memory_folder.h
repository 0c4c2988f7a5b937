// Memories on the disk, so that an epoch or a run after the first need not read the documents again.
//
// Purpose: training asks questions over the memories of the same documents again and again; making a memory costs a reading of its
//          document by the decoder, finding it one of the file. One file a memory (docs/FORMATS.md, "Memory record"), named by codec and
//          tokens, so that runs with other codecs or models may share a folder.
// Threads: find() and keep() may be called from several threads and processes.
#pragma once

#include <memory>
#include <string>

#include "alluvium/memory_bank/kv_basis.h"
#include "alluvium/memory_bank/memory.h"

namespace alluvium::experiments {

class MemoryFolder {
 public:
  /// Makes the directory when it is not there. Throws ResourceExhausted when it cannot.
  /// basis: of the codecs whose memories are kept here; null: they need none.
  explicit MemoryFolder(std::string directory,
                        std::shared_ptr<const memory_bank::KvBasis> basis = nullptr);

  /// Null when it was not kept, or its file is damaged.
  std::shared_ptr<const memory_bank::Memory> find(const Digest& fingerprint,
                                                  const Digest& document_sha) const;

  /// A file is whole or not there. Throws ResourceExhausted when it cannot be written.
  void keep(const memory_bank::Memory& memory) const;

 private:
  std::string path_of(const Digest& fingerprint, const Digest& document_sha) const;

  const std::string directory_;
  const std::shared_ptr<const memory_bank::KvBasis> basis_;
};

}  // namespace alluvium::experiments
