#include "lexical_search.h"

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include <sqlite3.h>

#include "alluvium/core/error.h"

namespace alluvium::memory_bank {
namespace {

// As in the schema's tokenize option.
constexpr const char* kTokenizer = "unicode61";
std::array<const char*, 2> tokenizer_arguments() { return {"remove_diacritics", "2"}; }

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
  explicit TermCutter(Connection& connection) {
    fts5_api* api = find_fts5(connection);
    void* context = nullptr;
    auto arguments = tokenizer_arguments();
    if (api->xFindTokenizer(api, kTokenizer, &context, &methods_) != SQLITE_OK ||
        methods_.xCreate(context, arguments.data(), static_cast<int>(arguments.size()),
                         &tokenizer_) != SQLITE_OK) {
      throw InternalError(fmt::format("FTS5 has no tokenizer {}", kTokenizer));
    }
  }
  ~TermCutter() { methods_.xDelete(tokenizer_); }
  TermCutter(const TermCutter&) = delete;
  TermCutter& operator=(const TermCutter&) = delete;

  std::vector<std::string> cut(std::string_view text) {
    Terms terms;
    const int code = methods_.xTokenize(tokenizer_, &terms, FTS5_TOKENIZE_QUERY, text.data(),
                                        static_cast<int>(text.size()), &TermCutter::receive);
    if (code != SQLITE_OK) {
      throw ResourceExhausted(
          fmt::format("FTS5 could not cut the query: {}", sqlite3_errstr(code)));
    }
    return std::move(terms.ordered);
  }

 private:
  struct Terms {
    std::vector<std::string> ordered;
    std::unordered_set<std::string> seen;
  };

  // Called from C: must not throw.
  static int receive(void* context, int, const char* token, int size, int, int) noexcept {
    try {
      auto& terms = *static_cast<Terms*>(context);
      std::string term(token, static_cast<std::size_t>(size));
      if (terms.seen.insert(term).second) {
        terms.ordered.push_back(std::move(term));
      }
      return SQLITE_OK;
    } catch (const std::bad_alloc&) {
      return SQLITE_NOMEM;
    }
  }

  fts5_tokenizer methods_{};
  Fts5Tokenizer* tokenizer_ = nullptr;
};

/// Keeps the kMaxQueryTerms terms that fewest documents hold, leaving out those that none holds.
void keep_rarest(Connection& connection, std::vector<std::string>& terms) {
  Statement count(connection, "SELECT doc FROM document_term WHERE term = ?");
  std::vector<std::pair<int64_t, std::string>> ranked;
  for (std::string& term : terms) {
    if (count.bind(term).step()) {
      ranked.emplace_back(count.integer(0), std::move(term));
    }
  }
  std::sort(ranked.begin(), ranked.end());
  ranked.resize(std::min(ranked.size(), kMaxQueryTerms));
  terms.clear();
  for (auto& [documents, term] : ranked) {
    terms.push_back(std::move(term));
  }
}

std::string match_expression(const std::vector<std::string>& terms) {
  std::string expression;
  for (const std::string& term : terms) {
    if (!expression.empty()) {
      expression += " OR ";
    }
    expression += '"';
    for (const char c : term) {
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

std::vector<std::string> lexical_terms(Connection& connection, std::string_view text) {
  return TermCutter(connection).cut(text);
}

std::vector<LexicalHit> search_documents(Connection& connection, const std::string& name_space,
                                         const std::string& query, int64_t limit,
                                         int64_t as_of_us) {
  std::vector<std::string> terms = lexical_terms(connection, query);
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
