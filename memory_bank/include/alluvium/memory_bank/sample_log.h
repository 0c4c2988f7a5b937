// Samples a selector keeps between its rounds, with what it has learned about each.
//
// Purpose: a pool that outlives the process: every change is one transaction, so a round that was cut goes on where it stood. What a state
//          means is the selector's business.
// Threads: thread-safe, as the Store it belongs to.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace alluvium::memory_bank {

struct LoggedSample {
  std::string id;
  std::string content;   ///< the sample as it came, UTF-8
  std::string state;     ///< what changes every round; bytes
  std::string features;  ///< what is learned at a price, and rarely again; bytes
};

struct SampleChange {
  std::string id;
  std::string state;
  std::optional<std::string> features;  ///< nothing: as they were
};

struct RetiredSample {
  std::string id;
  std::string reason;
};

struct SampleLogChanges {
  std::string head;  ///< of the pool as a whole; bytes
  std::vector<LoggedSample> added;
  std::vector<SampleChange> changed;
  std::vector<RetiredSample> retired;
};

class SampleLog {
 public:
  virtual ~SampleLog() = default;

  /// What the last commit() said; empty before the first.
  virtual std::string head() = 0;

  /// Whether a sample of this id was ever logged, retired or not.
  virtual bool knows(const std::string& id) = 0;

  /// Visits the samples that are not retired, in the order they were added.
  virtual void each(const std::function<void(const LoggedSample&)>& visit) = 0;

  /// Applies all of it in one transaction and waits for the disk. A retired sample keeps its content and the reason. Throws
  /// InvalidArgument on an added id that is known or another that is not, and then changes nothing.
  virtual void commit(const SampleLogChanges& changes) = 0;
};

}  // namespace alluvium::memory_bank
