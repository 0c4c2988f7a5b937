// The ingest log in SQL: rows are what is logged and not yet applied; offsets are never used again.
//
// Threads: as Connection. Writing functions belong inside a Transaction.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "alluvium/memory_bank/store.h"
#include "sqlite.h"

namespace alluvium::memory_bank {

/// Offsets given, 0 for a sequence its session has logged before.
std::vector<int64_t> insert_log(Connection& connection, std::span<const LogEntry> entries,
                                int64_t now_us);

std::vector<LogEntry> select_pending(Connection& connection, int64_t after, int64_t limit);

uint64_t select_last_sequence(Connection& connection, const std::string& session);

/// Nothing happens for offset 0 or one applied before.
void mark_applied(Connection& connection, int64_t offset);

struct LogPosition {
  int64_t logged = 0;
  int64_t applied = 0;
  int64_t pending = 0;
};
LogPosition select_log_position(Connection& connection);

}  // namespace alluvium::memory_bank
