// Everything of some sources to a service, and an account of it.
//
// Threads: owned by one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "alluvium/core/clock.h"
#include "alluvium/service/client.h"
#include "alluvium/streams/source.h"
#include "progress_line.h"

namespace alluvium::app {

/// What became of the input.
struct PublishSummary {
  int64_t accepted = 0;  ///< durable at the service
  int64_t refused = 0;   ///< by the service
  int64_t bad = 0;       ///< lines that are no documents
  int64_t bytes = 0;     ///< of texts sent
  double seconds = 0;    ///< until the last acknowledgement
  int64_t held = 0;      ///< documents the gate holds when all else was adapted, whoever sent them
  bool adapted = false;  ///< everything answers questions
  double adapted_seconds = 0;
  std::vector<memory_bank::DeadLetter> problems;  ///< the first kListedProblems

  int64_t failed() const { return refused + bad; }
};

constexpr std::size_t kListedProblems = 20;

class Publisher {
 public:
  /// client and progress must outlive it.
  Publisher(service::Client& client, ProgressLine& progress);

  /// Sends the documents of `location`, at most `limit` (0 = all); returns how many. Bad lines go to the service's dead letters.
  int64_t publish(const std::string& location, const streams::SourceOptions& options,
                  int64_t limit);

  /// Waits for all acknowledgements.
  void finish();

  /// Waits until everything answers questions.
  void wait_until_adapted();

  const PublishSummary& summary() const { return summary_; }

 private:
  void send(const streams::Envelope& envelope);
  void take_result(const service::PublishResult& result);
  void deliver_letters();
  void draw(const streams::Source& source, int64_t sent, int64_t limit);

  service::Client& client_;
  ProgressLine& progress_;
  PublishSummary summary_;
  Stopwatch watch_;
  std::map<uint64_t, memory_bank::DeadLetter>
      in_flight_;                                 // where each unanswered document came from
  std::vector<memory_bank::DeadLetter> letters_;  // delivered outside the callback
};

}  // namespace alluvium::app
