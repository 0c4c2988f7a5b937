#include "lexical_search.h"

#include "alluvium/core/error.h"
#include "bank_fixtures.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using memory_bank::Connection;
using memory_bank::DatabaseAccess;
using memory_bank::Deposit;
using memory_bank::Store;
using Terms = std::vector<std::string>;

void put(Store& store, const std::string& id, const std::string& title, const std::string& text,
         int64_t valid_from_us = 0) {
  Document document = make_document(id, 1, text);
  document.title = title;
  document.valid_from_us = valid_from_us;
  const Deposit deposit = make_deposit(document);
  store.commit({&deposit, 1});
}

Terms found(Store& store, const std::string& query, int64_t limit = 10, int64_t as_of_us = 0) {
  Terms ids;
  for (const auto& hit : store.search_text("default", query, limit, as_of_us)) {
    CHECK(hit.score > 0);
    ids.push_back(store.summary(hit.document_row)->id);
  }
  return ids;
}

}  // namespace

TEST_CASE("full text: queries are cut as documents are", "[memory_bank][lexical]") {
  const TemporaryDirectory directory;
  Connection connection(directory / "any.db", DatabaseAccess::read_write);
  const auto words = [&](const char* text) {
    Terms found_words;
    for (const auto& term : lexical_terms(connection, text)) {
      found_words.push_back(term.word);
    }
    return found_words;
  };
  CHECK(words("Super_Bowl_50") == Terms{"super", "bowl", "50"});
  CHECK(words("CVE-2005-4644, cve?") == Terms{"cve", "2005", "4644"});
  CHECK(words("Caf\u00e9 CAFE \u00c5ngstr\u00f6m") == Terms{"cafe", "angstrom"});
  CHECK(words("\"; DROP TABLE' OR NEAR(*)") == Terms{"drop", "table", "or", "near"});
  CHECK(words("flow flows flowing") == Terms{"flow"});
  CHECK(words(" .,!").empty());
  CHECK(words("").empty());
  CHECK(lexical_terms(connection, "Universities").at(0).stem == "univers");
}

TEST_CASE("full text: words meet by their stems", "[memory_bank][lexical]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  put(*store, "a", "", "The university invented flowing clocks.");
  CHECK(found(*store, "universities") == Terms{"a"});
  CHECK(found(*store, "university") == Terms{"a"});
  CHECK(found(*store, "Who invents?") == Terms{"a"});
  CHECK(found(*store, "clock") == Terms{"a"});
}

TEST_CASE("full text: the document with the rarer words of the query comes first",
          "[memory_bank][lexical]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  put(*store, "rhine", "Rivers", "The Rhine flows through Basel.");
  put(*store, "elbe", "Rivers", "The Elbe flows through Dresden.");
  put(*store, "alps", "Mountains", "The Alps are high.");
  put(*store, "cve", "CVE-2005-4644", "A hole in the wall.");
  put(*store, "bowl", "Super_Bowl_50", "A game.");
  CHECK(found(*store, "Which river flows through Basel?").at(0) == "rhine");
  CHECK(found(*store, "dresden") == Terms{"elbe"});
  CHECK(found(*store, "cve-2005-4644").at(0) == "cve");
  CHECK(found(*store, "bowl") == Terms{"bowl"});
  CHECK(found(*store, "rivers").size() == 2);
  CHECK(found(*store, "the", 2).size() == 2);
  CHECK(found(*store, "nowhere").empty());
  CHECK(found(*store, "\"* ^ NOT (").empty());
  CHECK(store->search_text("other", "rivers", 10, 0).empty());
}

TEST_CASE("full text: as_of leaves out what was not valid yet", "[memory_bank][lexical]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  put(*store, "always", "", "otters");
  put(*store, "later", "", "otters", 100);
  CHECK(found(*store, "otters").size() == 2);
  CHECK(found(*store, "otters", 10, 99) == Terms{"always"});
  CHECK(found(*store, "otters", 10, 100).size() == 2);
}

TEST_CASE("full text: of a very long query the rarest terms are kept", "[memory_bank][lexical]") {
  const TemporaryDirectory directory;
  const auto store = Store::open(directory.path());
  std::string common;
  for (int i = 0; i < 200; ++i) {
    common += fmt::format("word{} ", i);
  }
  for (int i = 0; i < 5; ++i) {
    put(*store, fmt::format("common{}", i), "", common);
  }
  put(*store, "rare", "", "needle");
  CHECK(found(*store, common + "needle").at(0) == "rare");
  std::string absent;
  for (int i = 0; i < 10000; ++i) {
    absent += fmt::format("absent{} ", i);
  }
  CHECK(found(*store, absent).empty());
  CHECK(found(*store, absent + "needle") == Terms{"rare"});
}

}  // namespace alluvium::tests
