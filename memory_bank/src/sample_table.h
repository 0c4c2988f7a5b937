// The sample log in SQL.
//
// Threads: as SampleLog.
#pragma once

#include <functional>
#include <string>

#include "alluvium/memory_bank/sample_log.h"
#include "connection_pool.h"
#include "sqlite.h"

namespace alluvium::memory_bank {

class SampleTable final : public SampleLog {
 public:
  /// Runs a body in one transaction of the write connection.
  using Write = std::function<void(const std::function<void(Connection&)>&)>;

  /// Both must outlive it.
  SampleTable(Write write, ConnectionPool& readers);

  std::string head() override;
  bool knows(const std::string& id) override;
  void each(const std::function<void(const LoggedSample&)>& visit) override;
  void commit(const SampleLogChanges& changes) override;

 private:
  const Write write_;
  ConnectionPool& readers_;
};

}  // namespace alluvium::memory_bank
