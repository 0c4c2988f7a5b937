#include "engine_tokenizer_mark.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "alluvium/core/error.h"

namespace alluvium::service {

bool check_tokenizer_mark(const std::string& directory, const Digest& tokenizer, bool empty) {
  const std::string path = (std::filesystem::path(directory) / "tokenizer").string();
  std::string mark;
  std::ifstream(path) >> mark;
  if (!empty && !mark.empty()) {
    return mark != to_hex(tokenizer);
  }
  // A mark is written before the first document, so that a crash between the two leaves a mark too many, never one too few.
  std::ofstream file(path, std::ios::trunc);
  file << to_hex(tokenizer) << '\n';
  file.flush();
  ALLUVIUM_CHECK(file.good(), "cannot write {}", path);
  return false;
}

memory_bank::ChunkRow match_chunk(const std::vector<memory_bank::ChunkRow>& stored,
                                  const memory_bank::Chunk& fresh) {
  const auto found =
      std::find_if(stored.begin(), stored.end(), [&](const memory_bank::ChunkRow& row) {
        return row.chunk.begin == fresh.begin && row.chunk.end == fresh.end &&
               row.chunk.tokens == fresh.tokens;
      });
  if (found != stored.end()) {
    return *found;
  }
  memory_bank::ChunkRow unstored;
  unstored.chunk = fresh;
  return unstored;
}

}  // namespace alluvium::service
