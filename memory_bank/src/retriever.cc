#include "alluvium/memory_bank/retriever.h"

#include <algorithm>
#include <span>
#include <utility>

#include "alluvium/core/error.h"
#include "score_fusion.h"
#include "tiered_index.h"

namespace alluvium::memory_bank {
namespace {

void check_options(const RetrieverOptions& options) {
  ALLUVIUM_CHECK(options.candidates > 0, "retrieval.candidates must be positive, got {}",
                 options.candidates);
  ALLUVIUM_CHECK(options.exact_keys >= 0, "retrieval.exact_keys must not be negative, got {}",
                 options.exact_keys);
  ALLUVIUM_CHECK(options.rrf_k >= 0, "retrieval.rrf_k must not be negative, got {}", options.rrf_k);
  ALLUVIUM_CHECK(options.index == "auto" || options.index == "exact" || options.index == "hnsw",
                 "retrieval.index must be auto, exact or hnsw, got '{}'", options.index);
}

std::unique_ptr<KeyIndex> make_index(int64_t dimension, const RetrieverOptions& options) {
  if (options.index == "exact") {
    return make_exact_index(dimension);
  }
  if (options.index == "hnsw") {
    return make_hnsw_index(dimension);
  }
  return make_tiered_index(dimension, options.exact_keys);
}

/// The documents of both lists, each once, with what is known of them.
std::vector<RetrievalHit> unite(const std::vector<LexicalHit>& lexical,
                                const std::vector<KeyHit>& nearest) {
  std::map<int64_t, RetrievalHit> by_row;
  for (const LexicalHit& hit : lexical) {
    by_row[hit.document_row] = {hit.document_row, 0, hit.score, 0};
  }
  for (const KeyHit& hit : nearest) {
    by_row[hit.document_row].document_row = hit.document_row;
  }
  std::vector<RetrievalHit> hits;
  for (const auto& [row, hit] : by_row) {
    hits.push_back(hit);
  }
  return hits;
}

}  // namespace

RetrievalMethod parse_retrieval_method(const std::string& word) {
  if (word == "bm25") {
    return RetrievalMethod::bm25;
  }
  if (word == "vector") {
    return RetrievalMethod::vector;
  }
  if (word == "hybrid") {
    return RetrievalMethod::hybrid;
  }
  if (word == "rrf") {
    return RetrievalMethod::rrf;
  }
  throw InvalidArgument(
      fmt::format("unknown retrieval method '{}'; known: bm25, vector, hybrid, rrf", word));
}

struct Retriever::State {
  struct Place {
    std::string name_space;
    int64_t valid_from_us = 0;
  };

  State(Store& the_store, const backbone::Encoder& the_encoder, RetrieverOptions the_options)
      : store(the_store), encoder(the_encoder), options(std::move(the_options)) {}

  Store& store;
  const backbone::Encoder& encoder;
  const RetrieverOptions options;

  mutable std::shared_mutex mutex;
  std::map<std::string, std::unique_ptr<KeyIndex>> indexes;  // one a namespace
  std::unordered_map<int64_t, Place> places;                 // of the documents in the indexes

  void add(const DocumentKeys& keys);
  void remove(int64_t document_row);

  std::vector<float> embed(const std::string& text) const;

  /// Nearest documents; `mutex` must be held.
  std::vector<KeyHit> nearest(const RetrievalQuery& query, std::span<const float> vector,
                              int64_t limit) const;

  /// Fills in the cosine of every hit; a document without keys gets 0. `mutex` must be held.
  void fill_cosines(const std::string& name_space, std::span<const float> vector,
                    std::vector<RetrievalHit>& hits) const;
};

void Retriever::State::add(const DocumentKeys& keys) {
  if (keys.keys.empty()) {
    remove(keys.document_row);
    return;
  }
  const std::unique_lock lock(mutex);
  std::unique_ptr<KeyIndex>& index = indexes[keys.name_space];
  if (!index) {
    index = make_index(encoder.dimension(), options);
  }
  index->add(keys.document_row, keys.keys);
  places[keys.document_row] = {keys.name_space, keys.valid_from_us};
}

void Retriever::State::remove(int64_t document_row) {
  const std::unique_lock lock(mutex);
  const auto place = places.find(document_row);
  if (place == places.end()) {
    return;
  }
  const auto index = indexes.find(place->second.name_space);
  index->second->remove(document_row);
  if (index->second->documents() == 0) {
    indexes.erase(index);
  }
  places.erase(place);
}

std::vector<float> Retriever::State::embed(const std::string& text) const {
  const at::Tensor vector = encoder.embed(std::span(&text, 1)).contiguous();
  const float* values = vector.const_data_ptr<float>();
  return {values, values + vector.numel()};
}

std::vector<KeyHit> Retriever::State::nearest(const RetrievalQuery& query,
                                              std::span<const float> vector, int64_t limit) const {
  const auto index = indexes.find(query.name_space);
  if (index == indexes.end()) {
    return {};
  }
  KeyFilter filter;
  if (query.as_of_us != 0) {
    filter = [&](int64_t row) { return places.at(row).valid_from_us <= query.as_of_us; };
  }
  return index->second->search(vector, limit, filter);
}

void Retriever::State::fill_cosines(const std::string& name_space, std::span<const float> vector,
                                    std::vector<RetrievalHit>& hits) const {
  const auto index = indexes.find(name_space);
  if (index == indexes.end()) {
    return;
  }
  std::vector<int64_t> rows;
  for (const RetrievalHit& hit : hits) {
    rows.push_back(hit.document_row);
  }
  const std::vector<double> cosines = index->second->score(vector, rows);
  for (std::size_t i = 0; i < hits.size(); ++i) {
    const bool has_keys = places.count(hits[i].document_row) > 0;
    hits[i].cosine = has_keys ? cosines[i] : 0;
  }
}

Retriever::Retriever(Store& store, const backbone::Encoder& encoder,
                     const RetrieverOptions& options) {
  check_options(options);
  state_ = std::make_unique<State>(store, encoder, options);
  store.each_keys(encoder.fingerprint(), [this](const DocumentKeys& keys) { state_->add(keys); });
}

Retriever::~Retriever() = default;

std::vector<RetrievalHit> Retriever::search(const RetrievalQuery& query) const {
  const bool wants_lexical = query.method != RetrievalMethod::vector;
  const bool wants_vector = query.method != RetrievalMethod::bm25;
  const int64_t wanted = std::max(state_->options.candidates, query.limit);

  std::vector<LexicalHit> lexical;
  if (wants_lexical) {
    lexical = state_->store.search_text(query.name_space, query.text, wanted, query.as_of_us);
  }
  std::vector<KeyHit> nearest;
  std::vector<RetrievalHit> hits;
  if (wants_vector) {
    const std::vector<float> vector = state_->embed(query.text);
    const std::shared_lock lock(state_->mutex);
    nearest = state_->nearest(query, vector, wanted);
    hits = unite(lexical, nearest);
    state_->fill_cosines(query.name_space, vector, hits);
  } else {
    hits = unite(lexical, nearest);
  }

  switch (query.method) {
    case RetrievalMethod::bm25:
      for (RetrievalHit& hit : hits) {
        hit.score = hit.lexical;
      }
      break;
    case RetrievalMethod::vector:
      for (RetrievalHit& hit : hits) {
        hit.score = hit.cosine;
      }
      break;
    case RetrievalMethod::hybrid:
      fuse_scores(hits, state_->options.vector_weight);
      break;
    case RetrievalMethod::rrf:
      fuse_ranks(hits, lexical, nearest, state_->options.rrf_k);
      break;
  }
  rank_hits(hits, query.limit);
  return hits;
}

void Retriever::add(const DocumentKeys& keys) { state_->add(keys); }

void Retriever::remove(int64_t document_row) { state_->remove(document_row); }

int64_t Retriever::keys() const {
  const std::shared_lock lock(state_->mutex);
  int64_t total = 0;
  for (const auto& [name_space, index] : state_->indexes) {
    total += index->keys();
  }
  return total;
}

}  // namespace alluvium::memory_bank
