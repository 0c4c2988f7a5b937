#include "credit_ledger.h"

#include "alluvium/core/random.h"
#include "support/catch.h"

namespace alluvium::service {
namespace {

CreditOptions small() {
  CreditOptions options;
  options.window_messages = 16;
  options.window_bytes = 1600;
  options.budget_messages = 64;
  options.budget_bytes = 6400;
  return options;
}

TEST_CASE("credit: a new publisher gets its window, at most the configured one",
          "[service][credit]") {
  CreditLedger ledger(small());
  ledger.open("a", 0, 0);
  CHECK(ledger.grant("a", 0).messages == 16);
  ledger.open("b", 4, 100);
  const CreditGrant grant = ledger.grant("b", 0);
  CHECK(grant.messages == 4);
  CHECK(grant.bytes == 100);
  ledger.open("c", 1000, 1000000);
  CHECK(ledger.grant("c", 0).messages == 16);
}

TEST_CASE("credit: nothing is granted until a quarter of the window is missing",
          "[service][credit]") {
  CreditLedger ledger(small());
  ledger.open("a", 0, 0);
  ledger.grant("a", 0);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(ledger.spend("a", 10));
    ledger.settle("a", 1, 10);
  }
  CHECK(!ledger.grant("a", 0).any());
  REQUIRE(ledger.spend("a", 10));
  ledger.settle("a", 1, 10);
  CHECK(ledger.grant("a", 0).messages == 4);
}

TEST_CASE("credit: a message larger than the bytes left passes and leaves a debt",
          "[service][credit]") {
  CreditLedger ledger(small());
  ledger.open("a", 0, 0);
  ledger.grant("a", 0);
  REQUIRE(ledger.spend("a", 5000));
  CHECK(!ledger.spend("a", 1));
  ledger.settle("a", 1, 5000);
  CHECK(ledger.grant("a", 0).bytes == 5000);
  CHECK(ledger.spend("a", 1));
}

TEST_CASE("credit: without grant, and for strangers, nothing may be spent", "[service][credit]") {
  CreditLedger ledger(small());
  CHECK(!ledger.spend("stranger", 1));
  CHECK(!ledger.grant("stranger", 0).any());
  ledger.open("a", 0, 0);
  CHECK(!ledger.spend("a", 1));
  ledger.grant("a", 0);
  ledger.close("a");
  CHECK(!ledger.spend("a", 1));
}

TEST_CASE("credit: a full backlog stops all grants, and a full budget all but a trickle",
          "[service][credit]") {
  CreditLedger ledger(small());
  ledger.open("a", 0, 0);
  CHECK(!ledger.grant("a", 64).any());
  CHECK(ledger.grant("a", 60).messages == 4);
  for (const char* idle : {"b", "c", "d", "e"}) {
    ledger.open(idle, 0, 0);
    ledger.grant(idle, 0);
  }
  ledger.open("late", 0, 0);
  CHECK(ledger.grant("late", 0).messages == 1);
}

TEST_CASE("credit: what is out never exceeds budget and trickle, whatever publishers do",
          "[service][credit][property]") {
  const auto seed = GENERATE(range(0U, 20U));
  CAPTURE(seed);
  Random random(seed);
  CreditLedger ledger(small());
  constexpr int kPublishers = 8;
  std::array<int64_t, kPublishers> granted{};
  std::array<int64_t, kPublishers> held{};
  for (int i = 0; i < kPublishers; ++i) {
    ledger.open(std::string(1, static_cast<char>('a' + i)), 0, 0);
  }
  for (int step = 0; step < 3000; ++step) {
    const auto i = random.below(kPublishers);
    const std::string name(1, static_cast<char>('a' + i));
    switch (random.below(3)) {
      case 0:
        granted[i] += ledger.grant(name, 0).messages;
        break;
      case 1:
        if (ledger.spend(name, 10)) {
          --granted[i];
          ++held[i];
        }
        break;
      default:
        if (held[i] > 0) {
          --held[i];
          ledger.settle(name, 1, 10);
        }
        break;
    }
    int64_t out = 0;
    for (std::size_t k = 0; k < kPublishers; ++k) {
      REQUIRE(granted[k] >= 0);
      REQUIRE(granted[k] + held[k] <= 16);
      out += granted[k] + held[k];
    }
    REQUIRE(out <= 64 + kPublishers * 16);
  }
}

}  // namespace
}  // namespace alluvium::service
