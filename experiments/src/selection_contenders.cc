#include "selection_contenders.h"

#include <utility>

namespace alluvium::experiments {

std::vector<Contender> zip_fit_contenders(const selectors::SelectorOptions& base) {
  std::vector<Contender> list;
  // `chunk`: 0 whole texts, 1024 even pieces, -1 pieces of the targets' median length.
  const auto add = [&](const std::string& mode, const std::string& compressor, int64_t level,
                       int64_t chunk) {
    Contender contender{"zip_fit", mode, base};
    contender.options.mode = mode;
    contender.options.compressor = compressor;
    contender.options.level = level;
    contender.options.length.chunk_bytes = chunk;
    contender.mode += " " + compressor + (compressor == "lz4" ? "" : "-" + std::to_string(level));
    contender.mode += chunk == 0 ? "" : chunk == -1 ? " median chunks" : " chunks";
    list.push_back(std::move(contender));
  };
  add("ref", "gzip", 6, 0);
  add("two_stage", "gzip", 6, 0);
  add("ref", "lz4", 1, 0);
  add("ref", "zstd", 3, 0);
  add("cond", "gzip", 6, 0);
  add("pool", "gzip", 6, 0);
  add("pool", "lz4", 1, 0);
  add("ref", "gzip", 6, -1);
  add("two_stage", "gzip", 6, -1);
  add("pool", "gzip", 6, -1);
  return list;
}

std::vector<Contender> baseline_contenders(
    const selectors::SelectorOptions& base,
    const std::shared_ptr<const selectors::TextEmbedder>& embedder) {
  std::vector<Contender> list;
  const auto add = [&](const std::string& name, const std::string& mode) -> Contender& {
    list.push_back({name, mode, base});
    return list.back();
  };
  add("random", "");
  add("length_matched_random", "of ref lz4").options.mode = "ref";
  list.back().options.compressor = "lz4";
  list.back().options.length.chunk_bytes = 0;
  add("bm25", "");
  add("dsir", "top-k").options.dsir_sample = false;
  add("dsir", "sampled");
  if (embedder != nullptr) {
    add("embedding", "MiniLM").options.embedder = embedder;
  }
  return list;
}

}  // namespace alluvium::experiments
