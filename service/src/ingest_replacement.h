// What a document leaves behind in the index and the cache when it is replaced or erased.
//
// Purpose: the store forgets rows in its transaction; whoever follows it must know them from
// before. Threads: owned by the ingest thread.
#pragma once

#include <cstdint>
#include <vector>

#include "alluvium/memory_bank/memory_cache.h"
#include "alluvium/memory_bank/retriever.h"
#include "alluvium/memory_bank/store.h"

namespace alluvium::service {

class Replacement {
 public:
  /// Takes down the rows of `document` as they are before the change.
  Replacement(memory_bank::Store& store, const Document& document);

  /// Call after the change is durable. `kept_row`: the document's row now, 0 when it is gone.
  void forget(memory_bank::Retriever& retriever, memory_bank::MemoryCache& cache,
              int64_t kept_row) const;

 private:
  int64_t document_row_ = 0;
  std::vector<int64_t> chunk_rows_;
};

}  // namespace alluvium::service
