// An engine without models: a real store, answers by script, and faults on demand. For tests of what stands around the engine.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "alluvium/service/engine.h"

namespace alluvium::tests {

class FakeEngine final : public service::Engine {
 public:
  /// The store lies in `directory`.
  explicit FakeEngine(const std::string& directory);
  ~FakeEngine() override;

  // Set before the endpoint starts, or at any time where atomic.
  std::atomic<bool> disk_full = false;  ///< log() throws ResourceExhausted
  std::atomic<bool> apply = true;  ///< logged documents are applied at once; else at apply_all()
  std::atomic<int64_t> log_calls = 0;      ///< group commits
  std::atomic<int64_t> extra_backlog = 0;  ///< added to backlog()
  std::atomic<bool> log_blocked = false;   ///< log() waits while set

  void apply_all();

  void on_event(std::function<void(const service::Event&)> callback) override;
  std::vector<int64_t> log(std::span<const memory_bank::LogEntry> entries) override;
  bool wait_applied(int64_t offset, int64_t timeout_ms) override;
  int64_t backlog() const override;

  /// Streams the question's words back, one piece each, as the answer. A question that begins with "wait" streams dots until it is
  /// cancelled; an empty one throws InvalidArgument, "break" throws InternalError.
  service::Answer ask(const service::Question& question,
                      const backbone::TextCallback& on_text) override;

  service::EngineStatus status() override;
  void recompress(const std::string& preset) override;
  service::MemoryReport memories() override;
  std::vector<std::string> verify_memories() override { return store_->verify(); }
  int64_t compact_memories() override { return store_->compact(); }
  service::ReaderShelf& readers() override;
  memory_bank::Store& store() override { return *store_; }
  const memory_bank::Retriever& retriever() const override;
  const memory_bank::Codec& codec(const std::string& name) override;
  const service::Models& models() const override { return models_; }
  void stop() override {}

 private:
  std::unique_ptr<memory_bank::Store> store_;
  service::Models models_;
  mutable std::mutex mutex_;
  std::condition_variable applied_changed_;
  std::function<void(const service::Event&)> callback_;
  int64_t logged_ = 0;
  int64_t applied_ = 0;
};

}  // namespace alluvium::tests
