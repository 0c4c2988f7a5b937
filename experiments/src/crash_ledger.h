// What a publisher sent, what was acknowledged, and what must therefore be there.
//
// Purpose: the judge of the crash bench. Each id's puts and deletes carry versions 1, 2, 3, ... in the order they are sent, so the state
//          of an id is that of its highest applied version. Acknowledged operations must be applied; others may be.
// Threads: owned by one thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "alluvium/core/document.h"
#include "alluvium/core/random.h"

namespace alluvium::experiments {

struct CrashOperation {
  bool erase = false;
  Document document;  ///< for a delete: identity and version
};

class CrashLedger {
 public:
  CrashLedger(uint64_t seed, int64_t documents);

  /// The next operation to send: one that was not acknowledged in its life, else a new one.
  CrashOperation next();

  /// Whether next() would give an operation that was sent before.
  bool has_unacknowledged() const { return !again_.empty(); }

  void acknowledge(const CrashOperation& operation);

  /// The life ended with these sent and not acknowledged, in the order they were sent.
  void resend(std::vector<CrashOperation> operations);

  int64_t acknowledged() const { return acknowledged_; }
  int64_t resent() const { return resent_; }

  /// Ids whose last acknowledged operation is a put and that no later delete was sent for.
  int64_t documents_expected() const;

  /// Why what is stored for `id` (nothing when absent) cannot be, or nothing when it can.
  std::optional<std::string> find_fault(const std::string& id,
                                        const std::optional<Document>& stored) const;

  std::vector<std::string> ids() const;

 private:
  struct History {
    std::vector<CrashOperation> sent;  // sent[v - 1] has version v
    uint64_t acknowledged = 0;         // highest version acknowledged
  };

  Random random_;
  const int64_t documents_;
  std::map<std::string, History> histories_;
  std::deque<CrashOperation> again_;
  int64_t acknowledged_ = 0;
  int64_t resent_ = 0;
};

}  // namespace alluvium::experiments
