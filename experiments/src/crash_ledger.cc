#include "crash_ledger.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "alluvium/core/error.h"

namespace alluvium::experiments {
namespace {

constexpr uint64_t kDeleteOneIn = 8;

}  // namespace

CrashLedger::CrashLedger(uint64_t seed, int64_t documents) : random_(seed), documents_(documents) {
  ALLUVIUM_CHECK(documents > 0, "documents must be positive, got {}", documents);
}

CrashOperation CrashLedger::next() {
  if (!again_.empty()) {
    CrashOperation operation = std::move(again_.front());
    again_.pop_front();
    return operation;
  }
  CrashOperation operation;
  Document& document = operation.document;
  document.id = fmt::format("document-{:05}", random_.below(static_cast<uint64_t>(documents_)));
  History& history = histories_[document.id];
  document.version = history.sent.size() + 1;
  operation.erase = document.version > 1 && random_.below(kDeleteOneIn) == 0;
  if (!operation.erase) {
    document.title = fmt::format("Title of {}", document.id);
    document.text = fmt::format("This is version {} of {}. Its mark is {}.", document.version,
                                document.id, random_.below(1000000));
  }
  history.sent.push_back(operation);
  return operation;
}

void CrashLedger::acknowledge(const CrashOperation& operation) {
  uint64_t& highest = histories_.at(operation.document.id).acknowledged;
  highest = std::max(highest, operation.document.version);
  ++acknowledged_;
}

void CrashLedger::resend(std::vector<CrashOperation> operations) {
  resent_ += static_cast<int64_t>(operations.size());
  // What waits already was sent before these lives' newer operations.
  again_.insert(again_.begin(), std::make_move_iterator(operations.begin()),
                std::make_move_iterator(operations.end()));
}

int64_t CrashLedger::documents_expected() const {
  return std::count_if(histories_.begin(), histories_.end(), [](const auto& entry) {
    const History& history = entry.second;
    const auto first = history.sent.begin() + static_cast<int64_t>(history.acknowledged);
    return history.acknowledged > 0 && !history.sent[history.acknowledged - 1].erase &&
           std::none_of(first, history.sent.end(),
                        [](const CrashOperation& operation) { return operation.erase; });
  });
}

std::optional<std::string> CrashLedger::find_fault(const std::string& id,
                                                   const std::optional<Document>& stored) const {
  const auto found = histories_.find(id);
  if (found == histories_.end()) {
    return stored ? std::optional(fmt::format("{} was never sent", id)) : std::nullopt;
  }
  const History& history = found->second;
  if (stored) {
    if (stored->version < history.acknowledged) {
      return fmt::format("{} has version {}, but version {} was acknowledged", id, stored->version,
                         history.acknowledged);
    }
    if (stored->version > history.sent.size() || history.sent[stored->version - 1].erase ||
        history.sent[stored->version - 1].document.text != stored->text) {
      return fmt::format("{} has version {} with a text that was never sent", id, stored->version);
    }
    return std::nullopt;
  }
  // Absent is right before anything was acknowledged, and after a delete no older than what was.
  const auto first =
      history.sent.begin() + static_cast<int64_t>(std::max<uint64_t>(history.acknowledged, 1)) - 1;
  const bool may_be_gone =
      history.acknowledged == 0 ||
      std::any_of(first, history.sent.end(),
                  [](const CrashOperation& operation) { return operation.erase; });
  return may_be_gone ? std::nullopt
                     : std::optional(fmt::format("{} is gone, but version {} was acknowledged", id,
                                                 history.acknowledged));
}

std::vector<std::string> CrashLedger::ids() const {
  std::vector<std::string> ids;
  for (const auto& [id, history] : histories_) {
    ids.push_back(id);
  }
  return ids;
}

}  // namespace alluvium::experiments
