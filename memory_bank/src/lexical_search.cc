#include "lexical_search.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include <sqlite3.h>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

// Together the schema's tokenize option: words as unicode61 cuts them, then their stems.
const std::vector<const char*> kWords = {"unicode61", "remove_diacritics", "2"};
const std::vector<const char*> kStems = {"porter", "unicode61", "remove_diacritics", "2"};

/// FTS5's own table of functions, which it hands out through a query.
fts5_api* find_fts5(Connection& connection) {
  fts5_api* api = nullptr;
  sqlite3_stmt* statement = nullptr;
  sqlite3_prepare_v2(connection.handle(), "SELECT fts5(?1)", -1, &statement, nullptr);
  sqlite3_bind_pointer(statement, 1, static_cast<void*>(&api), "fts5_api_ptr", nullptr);
  sqlite3_step(statement);
  sqlite3_finalize(statement);
  if (api == nullptr) {
    throw NotSupported("this SQLite was built without FTS5");
  }
  return api;
}

/// One tokenizer instance.
class TermCutter {
 public:
  /// options: the tokenizer's name, then its arguments.
  TermCutter(Connection& connection, std::vector<const char*> options) {
    fts5_api* api = find_fts5(connection);
    void* context = nullptr;
    if (api->xFindTokenizer(api, options[0], &context, &methods_) != SQLITE_OK ||
        methods_.xCreate(context, options.data() + 1, static_cast<int>(options.size()) - 1,
                         &tokenizer_) != SQLITE_OK) {
      throw InternalError(fmt::format("FTS5 has no tokenizer {}", options[0]));
    }
  }
  ~TermCutter() { methods_.xDelete(tokenizer_); }
  TermCutter(const TermCutter&) = delete;
  TermCutter& operator=(const TermCutter&) = delete;

  std::vector<std::string> cut(std::string_view text) {
    std::vector<std::string> terms;
    const int code = methods_.xTokenize(tokenizer_, &terms, FTS5_TOKENIZE_QUERY, text.data(),
                                        static_cast<int>(text.size()), &TermCutter::receive);
    if (code != SQLITE_OK) {
      throw ResourceExhausted(
          fmt::format("FTS5 could not cut the query: {}", sqlite3_errstr(code)));
    }
    return terms;
  }

 private:
  // Called from C: must not throw.
  static int receive(void* terms, int, const char* token, int size, int, int) noexcept {
    try {
      static_cast<std::vector<std::string>*>(terms)->emplace_back(token,
                                                                  static_cast<std::size_t>(size));
      return SQLITE_OK;
    } catch (const std::bad_alloc&) {
      return SQLITE_NOMEM;
    }
  }

  fts5_tokenizer methods_{};
  Fts5Tokenizer* tokenizer_ = nullptr;
};

/// Keeps the kMaxQueryTerms terms that fewest documents hold, leaving out those that none holds.
void keep_rarest(Connection& connection, std::vector<LexicalTerm>& terms) {
  Statement count(connection, "SELECT doc FROM document_term WHERE term = ?");
  std::vector<std::pair<int64_t, std::string>> ranked;
  for (LexicalTerm& term : terms) {
    if (count.bind(term.stem).step()) {
      ranked.emplace_back(count.integer(0), std::move(term.word));
    }
  }
  std::sort(ranked.begin(), ranked.end());
  ranked.resize(std::min(ranked.size(), kMaxQueryTerms));
  terms.clear();
  for (auto& [documents, word] : ranked) {
    terms.push_back({std::move(word), {}});
  }
}

/// FTS5 stems the words of an expression itself, and a stem's stem may differ: so it gets the words.
std::string match_expression(const std::vector<LexicalTerm>& terms) {
  std::string expression;
  for (const LexicalTerm& term : terms) {
    if (!expression.empty()) {
      expression += " OR ";
    }
    expression += '"';
    for (const char c : term.word) {
      expression += c;
      if (c == '"') {
        expression += c;
      }
    }
    expression += '"';
  }
  return expression;
}

}  // namespace

std::vector<LexicalTerm> lexical_terms(Connection& connection, std::string_view text) {
  std::vector<std::string> words = TermCutter(connection, kWords).cut(text);
  std::vector<std::string> stems = TermCutter(connection, kStems).cut(text);
  ALLUVIUM_ASSERT(words.size() == stems.size());
  std::unordered_set<std::string> seen;
  std::vector<LexicalTerm> terms;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (seen.insert(stems[i]).second) {
      terms.push_back({std::move(words[i]), std::move(stems[i])});
    }
  }
  return terms;
}

std::vector<LexicalHit> search_documents(Connection& connection, const std::string& name_space,
                                         const std::string& query, int64_t limit,
                                         int64_t as_of_us) {
  std::vector<LexicalTerm> terms = lexical_terms(connection, query);
  if (terms.size() > kMaxQueryTerms) {
    keep_rarest(connection, terms);
  }
  if (terms.empty()) {
    return {};
  }
  Statement select(connection,
                   "SELECT d.document_row, -bm25(document_text) AS score FROM document_text "
                   "JOIN document d ON d.document_row = document_text.rowid "
                   "WHERE document_text MATCH ?1 AND d.name_space = ?2 "
                   "AND (?3 = 0 OR d.valid_from_us <= ?3) "
                   "ORDER BY score DESC, d.document_row LIMIT ?4");
  select.bind(match_expression(terms), name_space, as_of_us, limit);
  std::vector<LexicalHit> hits;
  while (select.step()) {
    hits.push_back({select.integer(0), select.real(1)});
  }
  return hits;
}

}  // namespace alluvium::memory_bank
