#include "credit_ledger.h"

#include <algorithm>

namespace alluvium::service {
namespace {

int64_t window_of(uint64_t wanted, int64_t configured) {
  return wanted == 0 ? configured
                     : static_cast<int64_t>(std::min(wanted, static_cast<uint64_t>(configured)));
}

/// What to give when `missing` of `window` is gone and `free` of the budget is left. A sixteenth of
/// the window is given even past the budget: idle publishers sit on credit that cannot be called
/// back, and must not starve the others.
int64_t share(int64_t missing, int64_t window, int64_t free) {
  if (missing * 4 < window) {
    return 0;
  }
  return std::min(missing, std::max({free, window / 16, int64_t{1}}));
}

}  // namespace

void CreditLedger::open(const std::string& publisher, uint64_t wanted_messages,
                        uint64_t wanted_bytes) {
  Account account;
  account.window_messages = window_of(wanted_messages, options_.window_messages);
  account.window_bytes = window_of(wanted_bytes, options_.window_bytes);
  accounts_[publisher] = account;
}

void CreditLedger::close(const std::string& publisher) { accounts_.erase(publisher); }

bool CreditLedger::spend(const std::string& publisher, std::size_t bytes) {
  const auto found = accounts_.find(publisher);
  if (found == accounts_.end() || found->second.messages <= 0 || found->second.bytes <= 0) {
    return false;
  }
  Account& account = found->second;
  --account.messages;
  account.bytes -= static_cast<int64_t>(bytes);
  ++account.held_messages;
  account.held_bytes += static_cast<int64_t>(bytes);
  return true;
}

void CreditLedger::settle(const std::string& publisher, int64_t messages, std::size_t bytes) {
  const auto found = accounts_.find(publisher);
  if (found == accounts_.end()) {
    return;
  }
  // A publisher that came back has a new account; what its old one held may settle after that.
  Account& account = found->second;
  account.held_messages = std::max<int64_t>(0, account.held_messages - messages);
  account.held_bytes = std::max<int64_t>(0, account.held_bytes - static_cast<int64_t>(bytes));
}

CreditGrant CreditLedger::grant(const std::string& publisher, int64_t backlog) {
  const auto found = accounts_.find(publisher);
  if (found == accounts_.end() || backlog >= options_.budget_messages) {
    return {};
  }
  int64_t free_messages = options_.budget_messages - backlog;
  int64_t free_bytes = options_.budget_bytes;
  for (const auto& [name, account] : accounts_) {
    free_messages -= account.messages + account.held_messages;
    free_bytes -= std::max<int64_t>(0, account.bytes) + account.held_bytes;
  }
  Account& account = found->second;
  CreditGrant grant;
  grant.messages = share(account.window_messages - account.messages - account.held_messages,
                         account.window_messages, free_messages);
  grant.bytes = share(account.window_bytes - account.bytes - account.held_bytes,
                      account.window_bytes, free_bytes);
  account.messages += grant.messages;
  account.bytes += grant.bytes;
  return grant;
}

}  // namespace alluvium::service
