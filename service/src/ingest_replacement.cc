#include "ingest_replacement.h"

namespace alluvium::service {

Replacement::Replacement(memory_bank::Store& store, const Document& document) {
  const auto before = store.find(document.name_space, document.id);
  if (!before) {
    return;
  }
  document_row_ = before->row;
  for (const memory_bank::ChunkRow& chunk : store.chunks(before->row)) {
    chunk_rows_.push_back(chunk.row);
  }
}

void Replacement::forget(memory_bank::Retriever& retriever, memory_bank::MemoryCache& cache,
                         int64_t kept_row) const {
  for (const int64_t row : chunk_rows_) {
    cache.remove(row);
  }
  if (document_row_ != 0 && document_row_ != kept_row) {
    retriever.remove(document_row_);
  }
}

}  // namespace alluvium::service
