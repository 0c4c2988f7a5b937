#include "crash_publisher.h"

#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "alluvium/core/error.h"

namespace alluvium::experiments {
namespace {

// A killed service on this machine is noticed by silence; a busy one still answers pings.
constexpr int64_t kSilenceMs = 1500;

/// A client that books every result in the ledger.
class Publisher {
 public:
  Publisher(const std::string& endpoint, CrashLedger& ledger)
      : client_(impatient_client(endpoint)), ledger_(ledger) {
    client_.on_result([this](const service::PublishResult& result) {
      const auto found = waiting_.find(result.sequence);
      if (found == waiting_.end()) {
        return;
      }
      // Only a kill may keep an operation from its acknowledgement.
      if (!result.accepted) {
        refused_ = result.reason;
        return;
      }
      ledger_.acknowledge(found->second);
      waiting_.erase(found);
    });
  }

  void send(CrashOperation operation) {
    const Document& document = operation.document;
    // Kept before the call: put() may throw after the service has it.
    in_hand_ = operation;
    const uint64_t sequence =
        operation.erase ? client_.erase(document.name_space, document.id, document.version)
                        : client_.put(document);
    in_hand_.reset();
    waiting_.emplace(sequence, std::move(operation));
    require_no_refusal();
  }

  void finish() {
    client_.drain();
    require_no_refusal();
    client_.flush();
  }

  std::vector<CrashOperation> take_unacknowledged() {
    std::vector<CrashOperation> operations;
    for (auto& [sequence, operation] : waiting_) {
      operations.push_back(std::move(operation));
    }
    if (in_hand_) {
      operations.push_back(std::move(*in_hand_));
    }
    waiting_.clear();
    in_hand_.reset();
    return operations;
  }

 private:
  void require_no_refusal() const {
    if (!refused_.empty()) {
      throw InternalError(fmt::format("the service refused a document: {}", refused_));
    }
  }

  service::Client client_;
  CrashLedger& ledger_;
  std::map<uint64_t, CrashOperation> waiting_;
  std::optional<CrashOperation> in_hand_;
  std::string refused_;
};

}  // namespace

service::ClientOptions impatient_client(const std::string& endpoint) {
  service::ClientOptions options;
  options.endpoint = endpoint;
  options.silence_timeout_ms = kSilenceMs;
  return options;
}

void publish_until_killed(const std::string& endpoint, CrashLedger& ledger,
                          const std::atomic<bool>& stopping) {
  Publisher publisher(endpoint, ledger);
  try {
    while (!stopping) {
      publisher.send(ledger.next());
    }
  } catch (const Unavailable&) {
    // The end every life is meant to have.
  }
  ledger.resend(publisher.take_unacknowledged());
}

void publish_rest(const std::string& endpoint, CrashLedger& ledger) {
  Publisher publisher(endpoint, ledger);
  while (ledger.has_unacknowledged()) {
    publisher.send(ledger.next());
  }
  publisher.finish();
}

}  // namespace alluvium::experiments
