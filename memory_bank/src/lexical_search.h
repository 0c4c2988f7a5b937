// Full-text candidates: BM25 over title and text by SQLite's FTS5.
//
// Source : BM25 with k1 = 1.2, b = 0.75 as FTS5 fixes them (Robertson and Zaragoza, 2009).
// Differs: words are compared by their stems (Porter, 1980): measured better on squad dev_a alone
//          and in the fusion. FTS5 counts over the whole table, not over one namespace, and never
//          lets a term's inverse document frequency fall below 1e-6.
// Threads: as Connection.
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

struct LexicalTerm {
  std::string word;  ///< as the query has it, in lower case, without diacritics
  std::string stem;  ///< what the index holds for it
};

/// Terms of `text` in order of appearance, one for each stem, by the very tokenizers that index
/// documents.
std::vector<LexicalTerm> lexical_terms(Connection& connection, std::string_view text);

/// Documents with any term of the query, best first; ties go to the lower row. Empty for a query
/// without terms.
std::vector<LexicalHit> search_documents(Connection& connection, const std::string& name_space,
                                         const std::string& query, int64_t limit, int64_t as_of_us);

}  // namespace alluvium::memory_bank
