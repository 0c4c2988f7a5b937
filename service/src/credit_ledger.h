// Who may still send how much.
//
// Purpose: publishers send only what was granted, and all grants together with the ingest backlog
//          stay under one budget: a slow device shrinks the grants, not the free memory.
// Source : credit-based flow control, Hintjens, "The ZeroMQ Guide", chapter 7.
// Threads: thread-compatible; the endpoint's I/O thread owns it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace alluvium::service {

struct CreditOptions {
  int64_t window_messages = 256;  ///< of one publisher
  int64_t window_bytes = int64_t{8} << 20;
  int64_t budget_messages = 1024;  ///< of all publishers and the backlog together
  int64_t budget_bytes = int64_t{256} << 20;
};

/// Credit given in addition to what is still there.
struct CreditGrant {
  int64_t messages = 0;
  int64_t bytes = 0;

  bool any() const { return messages > 0 || bytes > 0; }
};

class CreditLedger {
 public:
  explicit CreditLedger(const CreditOptions& options) : options_(options) {}

  /// A publisher starts anew, with nothing to spend. Its window is what it wants, at most the
  /// configured one; 0 wants the configured one.
  void open(const std::string& publisher, uint64_t wanted_messages, uint64_t wanted_bytes);
  void close(const std::string& publisher);

  /// Takes one message of `bytes`; false when messages or bytes are used up. A message larger than
  /// the bytes left passes, and leaves a debt.
  bool spend(const std::string& publisher, std::size_t bytes);

  /// Spent messages left our hands: journaled or refused. No effect for an unknown publisher.
  void settle(const std::string& publisher, int64_t messages, std::size_t bytes);

  /// Grants what is due: nothing until a quarter of the window is missing. `backlog` counts the
  /// messages journaled and not applied.
  CreditGrant grant(const std::string& publisher, int64_t backlog);

 private:
  struct Account {
    int64_t window_messages = 0;
    int64_t window_bytes = 0;
    int64_t messages = 0;       // granted and not spent
    int64_t bytes = 0;          // may be negative
    int64_t held_messages = 0;  // spent and not settled
    int64_t held_bytes = 0;
  };

  CreditOptions options_;
  std::map<std::string, Account> accounts_;
};

}  // namespace alluvium::service
