#include "alluvium/memory_bank/retriever.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "alluvium/core/error.h"
#include "bank_fixtures.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::tests {
namespace {

using Catch::Matchers::WithinAbs;
using memory_bank::Deposit;
using memory_bank::DocumentKeys;
using memory_bank::RetrievalHit;
using memory_bank::RetrievalMethod;
using memory_bank::RetrievalQuery;
using memory_bank::Retriever;
using memory_bank::RetrieverOptions;
using memory_bank::Store;

/// A store with three documents of different words and directions, and an encoder that knows one question.
struct Bank {
  TemporaryDirectory directory;
  std::unique_ptr<Store> store = Store::open(directory.path());
  TableEncoder encoder{2};
  std::map<std::string, int64_t> rows;

  Bank() {
    encoder.set("otters swim", {0, 1});
    put("words", "otters swim and otters swim", {1, 0});
    put("near", "unrelated text", {0, 1});
    put("both", "otters sleep all day and all night long", {0.6F, 0.8F});
  }

  DocumentKeys put(const std::string& id, const std::string& text, const std::vector<float>& keys,
                   int64_t valid_from_us = 0) {
    Deposit deposit = make_deposit(make_document(id, 1, text));
    deposit.document.title.clear();
    deposit.document.valid_from_us = valid_from_us;
    deposit.keys = keys;
    deposit.key_dimension = 2;
    deposit.encoder_fingerprint = encoder.fingerprint();
    store->commit({&deposit, 1});
    rows[id] = store->find("default", id)->row;
    return {rows[id], "default", valid_from_us, keys};
  }

  std::vector<std::string> ids(const std::vector<RetrievalHit>& hits) const {
    std::vector<std::string> found;
    for (const RetrievalHit& hit : hits) {
      found.push_back(store->summary(hit.document_row)->id);
    }
    return found;
  }
};

RetrievalQuery ask(RetrievalMethod method, int64_t limit = 10) {
  RetrievalQuery query;
  query.text = "otters swim";
  query.method = method;
  query.limit = limit;
  return query;
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("retriever: each method ranks by its own score", "[memory_bank][retrieval]") {
  Bank bank;
  RetrieverOptions options;
  options.vector_weight = 1.5;
  const Retriever retriever(*bank.store, bank.encoder, options);
  CHECK(retriever.keys() == 3);
  CHECK(bank.ids(retriever.search(ask(RetrievalMethod::bm25))) == Ids{"words", "both"});
  CHECK(bank.ids(retriever.search(ask(RetrievalMethod::vector))) == Ids{"near", "both", "words"});
  CHECK(bank.ids(retriever.search(ask(RetrievalMethod::rrf))).size() == 3);

  // near: 0 + 1.5 * 1; both: BM25 share + 1.5 * 0.8; words: 1 + 1.5 * 0.
  const auto hits = retriever.search(ask(RetrievalMethod::hybrid));
  REQUIRE(hits.size() == 3);
  for (const RetrievalHit& hit : hits) {
    const std::string id = bank.store->summary(hit.document_row)->id;
    CAPTURE(id);
    const double highest = bank.store->search_text("default", "otters swim", 1, 0).at(0).score;
    CHECK_THAT(hit.score, WithinAbs(hit.lexical / highest + 1.5 * hit.cosine, 1e-9));
    CHECK_THAT(hit.cosine, WithinAbs(id == "near" ? 1.0 : id == "both" ? 0.8 : 0.0, 1e-6));
    CHECK((hit.lexical > 0) == (id != "near"));
  }
  CHECK(retriever.search(ask(RetrievalMethod::hybrid, 1)).size() == 1);
}

TEST_CASE("retriever: a lexical candidate gets its cosine though the vectors did not propose it",
          "[memory_bank][retrieval]") {
  Bank bank;
  RetrieverOptions options;
  options.candidates = 1;
  options.vector_weight = 1.5;
  const Retriever retriever(*bank.store, bank.encoder, options);
  bank.encoder.set("sleep", {0, 1});
  RetrievalQuery query = ask(RetrievalMethod::hybrid, 1);
  query.text = "sleep";  // lexical proposes "both", vectors propose "near"
  const auto hits = retriever.search(query);
  REQUIRE(hits.size() == 1);
  CHECK(bank.ids(hits) == Ids{"both"});  // 1 + 1.5 * 0.8 = 2.2 beats 1.5
  CHECK_THAT(hits[0].cosine, WithinAbs(0.8, 1e-6));
}

TEST_CASE("retriever: it follows what is added, replaced and removed", "[memory_bank][retrieval]") {
  Bank bank;
  for (const char* index : {"auto", "exact", "hnsw"}) {
    CAPTURE(index);
    RetrieverOptions options;
    options.index = index;
    Retriever retriever(*bank.store, bank.encoder, options);
    const DocumentKeys extra = bank.put("extra", "nothing", {0, 1, 1, 0});
    retriever.add(extra);
    CHECK(retriever.keys() == 5);
    retriever.add({extra.document_row, "default", 0, {1, 0}});
    CHECK(retriever.keys() == 4);
    CHECK(bank.ids(retriever.search(ask(RetrievalMethod::vector))).at(0) == "near");
    retriever.remove(bank.rows.at("near"));
    retriever.remove(bank.rows.at("near"));
    CHECK(bank.ids(retriever.search(ask(RetrievalMethod::vector))).at(0) == "both");
    retriever.remove(12345);
    retriever.remove(extra.document_row);
    CHECK(retriever.keys() == 2);
  }
}

TEST_CASE("retriever: namespaces and times are kept apart", "[memory_bank][retrieval]") {
  Bank bank;
  Retriever retriever(*bank.store, bank.encoder, {});
  retriever.add(bank.put("future", "otters swim", {0, 1}, 1000));
  RetrievalQuery query = ask(GENERATE(RetrievalMethod::bm25, RetrievalMethod::vector,
                                      RetrievalMethod::hybrid, RetrievalMethod::rrf));
  const auto now = bank.ids(retriever.search(query));
  CHECK(std::count(now.begin(), now.end(), "future") == 1);
  query.as_of_us = 999;
  const auto then = bank.ids(retriever.search(query));
  CHECK(std::count(then.begin(), then.end(), "future") == 0);
  CHECK(then.size() == now.size() - 1);
  query.name_space = "other";
  CHECK(retriever.search(query).empty());
}

TEST_CASE("retriever: options outside their bounds are refused", "[memory_bank][retrieval]") {
  Bank bank;
  RetrieverOptions options;
  SECTION("index") { options.index = "tree"; }
  SECTION("candidates") { options.candidates = 0; }
  SECTION("keys") { options.exact_keys = -1; }
  SECTION("rank") { options.rrf_k = -1; }
  CHECK_THROWS_AS(Retriever(*bank.store, bank.encoder, options), InvalidArgument);
}

TEST_CASE("retriever: searches run while documents come and go", "[memory_bank][retrieval]") {
  Bank bank;
  Retriever retriever(*bank.store, bank.encoder, {});
  std::atomic<bool> done = false;
  std::atomic<int> wrong = 0;
  std::jthread reader([&] {
    while (!done) {
      const auto hits = retriever.search(ask(RetrievalMethod::hybrid, 2));
      wrong += hits.size() != 2 ? 1 : 0;
    }
  });
  for (int round = 0; round < 200; ++round) {
    retriever.add({1000 + round % 10, "default", 0, {0, -1}});
    retriever.remove(1000 + (round + 5) % 10);
  }
  done = true;
  reader.join();
  CHECK(wrong == 0);
}

}  // namespace alluvium::tests
