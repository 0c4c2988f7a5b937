// Nearest documents by their keys: several unit vectors a document, a document scores its best key.
//
// Source : HNSW (Malkov and Yashunin, 2018) through hnswlib; exact search as the slow obvious
//          version beside it.
// Threads: thread-safe; searches run together, changes exclude them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace alluvium::memory_bank {

struct KeyHit {
  int64_t document_row = 0;
  double score = 0;  ///< cosine of the document's best key, in [-1, 1]
};

/// Accepts a document; given to searches as a filter. Null accepts all.
using KeyFilter = std::function<bool(int64_t document_row)>;

class KeyIndex {
 public:
  virtual ~KeyIndex() = default;

  /// keys: [n, dimension] unit rows. Replaces the keys of a document already there.
  virtual void add(int64_t document_row, std::span<const float> keys) = 0;
  virtual void remove(int64_t document_row) = 0;

  /// Best documents first, at most `limit`; query: [dimension], unit.
  virtual std::vector<KeyHit> search(std::span<const float> query, int64_t limit,
                                     const KeyFilter& filter = nullptr) const = 0;

  /// Cosine of the best key of each of the given documents, in their order; -1 for a document
  /// without keys.
  virtual std::vector<double> score(std::span<const float> query,
                                    std::span<const int64_t> document_rows) const = 0;

  virtual int64_t documents() const = 0;
  virtual int64_t keys() const = 0;
};

struct HnswOptions {
  int64_t m = 16;                 ///< links a node (hnswlib's default)
  int64_t ef_construction = 200;  ///< hnswlib's default
  int64_t ef_search = 256;  ///< candidate keys a search; raised to the limit when that is larger
  int64_t initial_capacity = 4096;  ///< keys; grows by doubling
};

/// Compares with every key: recall 1.
std::unique_ptr<KeyIndex> make_exact_index(int64_t dimension);
std::unique_ptr<KeyIndex> make_hnsw_index(int64_t dimension, const HnswOptions& options = {});

}  // namespace alluvium::memory_bank
