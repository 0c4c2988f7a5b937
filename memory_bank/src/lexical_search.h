// Full-text candidates: BM25 over title and text by SQLite's FTS5.
//
// Source : BM25 with k1 = 1.2, b = 0.75 as FTS5 fixes them (Robertson and Zaragoza, 2009).
// Differs: FTS5 counts over the whole table, not over one namespace, and never lets a term's
// inverse document frequency fall below 1e-6. Threads: as Connection.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "alluvium/memory_bank/store.h"
#include "sqlite.h"

namespace alluvium::memory_bank {

/// Terms of a query at most; of more, the rarest are kept.
inline constexpr std::size_t kMaxQueryTerms = 64;

/// Distinct terms of `text` in order of appearance, cut and folded by the very tokenizer that
/// indexes documents.
std::vector<std::string> lexical_terms(Connection& connection, std::string_view text);

/// Documents with any term of the query, best first; ties go to the lower row. Empty for a query
/// without terms.
std::vector<LexicalHit> search_documents(Connection& connection, const std::string& name_space,
                                         const std::string& query, int64_t limit, int64_t as_of_us);

}  // namespace alluvium::memory_bank
