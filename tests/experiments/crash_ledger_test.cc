#include "crash_ledger.h"

#include <set>

#include "support/catch.h"

namespace alluvium::tests {
namespace {

using experiments::CrashLedger;
using experiments::CrashOperation;

/// Operations of a ledger with one id, the first `count` of them.
std::vector<CrashOperation> send(CrashLedger& ledger, int count) {
  std::vector<CrashOperation> sent;
  for (int i = 0; i < count; ++i) {
    sent.push_back(ledger.next());
  }
  return sent;
}

TEST_CASE("crash ledger: versions of an id count up from 1, beginning with a put",
          "[experiments][crash]") {
  CrashLedger ledger(3, 1);
  const auto sent = send(ledger, 40);
  CHECK_FALSE(sent[0].erase);
  std::set<bool> kinds;
  for (std::size_t i = 0; i < sent.size(); ++i) {
    CHECK(sent[i].document.version == i + 1);
    kinds.insert(sent[i].erase);
  }
  CHECK(kinds.size() == 2);
}

TEST_CASE("crash ledger: an acknowledged put must be there, in that version or a later one",
          "[experiments][crash]") {
  CrashLedger ledger(3, 1);
  const auto sent = send(ledger, 2);
  REQUIRE_FALSE(sent[1].erase);
  const std::string id = sent[0].document.id;
  CHECK_FALSE(ledger.find_fault(id, std::nullopt));
  ledger.acknowledge(sent[0]);
  CHECK(ledger.documents_expected() == 1);
  CHECK(ledger.find_fault(id, std::nullopt));
  CHECK_FALSE(ledger.find_fault(id, sent[0].document));
  CHECK_FALSE(ledger.find_fault(id, sent[1].document));
  ledger.acknowledge(sent[1]);
  CHECK(ledger.find_fault(id, sent[0].document));

  Document changed = sent[1].document;
  changed.text += " More.";
  CHECK(ledger.find_fault(id, changed));
  changed.version = 9;
  CHECK(ledger.find_fault(id, changed));
  CHECK(ledger.find_fault("stranger", sent[0].document));
}

TEST_CASE("crash ledger: an acknowledged delete must hold, and one that was only sent may",
          "[experiments][crash]") {
  CrashLedger ledger(3, 1);
  std::vector<CrashOperation> sent;
  do {
    sent.push_back(ledger.next());
  } while (!sent.back().erase);
  const std::string id = sent.back().document.id;
  const CrashOperation& put = sent[sent.size() - 2];
  ledger.acknowledge(put);
  CHECK(ledger.documents_expected() == 0);
  CHECK_FALSE(ledger.find_fault(id, put.document));
  CHECK_FALSE(ledger.find_fault(id, std::nullopt));
  ledger.acknowledge(sent.back());
  CHECK(ledger.find_fault(id, put.document));
  CHECK_FALSE(ledger.find_fault(id, std::nullopt));
}

TEST_CASE("crash ledger: what was not acknowledged is sent again first, in order",
          "[experiments][crash]") {
  CrashLedger ledger(5, 10);
  const auto sent = send(ledger, 4);
  ledger.resend({sent[2], sent[3]});
  CHECK(ledger.has_unacknowledged());
  CHECK(ledger.next().document.text == sent[2].document.text);
  CHECK(ledger.next().document.text == sent[3].document.text);
  CHECK_FALSE(ledger.has_unacknowledged());
  CHECK(ledger.resent() == 2);
}

}  // namespace
}  // namespace alluvium::tests
