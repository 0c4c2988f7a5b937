// The database's tables and how an older database becomes a newer one.
//
// Threads: as Connection.
#pragma once

#include "sqlite.h"

namespace alluvium::memory_bank {

/// Version this build writes (PRAGMA user_version).
int64_t schema_version();

/// Settings of every connection.
void configure_connection(Connection& connection, DatabaseAccess access);

/// Brings the database to schema_version(), one transaction a step. Throws DataCorruption when it
/// is newer or fails SQLite's check.
void migrate(Connection& connection);

/// For connections that may not write: throws InvalidArgument unless the database has
/// schema_version().
void require_schema(Connection& connection);

}  // namespace alluvium::memory_bank
