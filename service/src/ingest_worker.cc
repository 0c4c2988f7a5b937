#include "ingest_worker.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "ingest_replacement.h"

namespace alluvium::service {
namespace {

using memory_bank::CommitOutcome;
using memory_bank::Deposit;
using memory_bank::LogEntry;

constexpr int kTries = 5;
constexpr int64_t kFirstPauseMs = 100;
constexpr int64_t kLongestPauseMs = 5000;
constexpr int64_t kLongestWaitMs =
    int64_t{1000} * 3600 * 24 * 365;  // the clock's nanoseconds must not overflow

/// Thrown through the worker when it is told to stop while it waits for room: the entry stays in
/// the log.
struct Stopped {};

/// The document itself is wrong: another try gives the same error.
bool hopeless(const std::exception& error) {
  const auto* own = dynamic_cast<const Error*>(&error);
  return own != nullptr &&
         (own->kind() == ErrorKind::invalid_argument || own->kind() == ErrorKind::not_supported);
}

/// The store cannot write just now, whatever the document: full disk, damage for the operator.
bool must_wait(const Error& error) {
  return error.kind() == ErrorKind::resource_exhausted || error.kind() == ErrorKind::unavailable ||
         error.kind() == ErrorKind::data_corruption;
}

Event about(Event::Kind kind, const Document& document, int64_t offset,
            const std::string& reason = {}) {
  Event event;
  event.kind = kind;
  event.name_space = document.name_space;
  event.id = document.id;
  event.version = document.version;
  event.offset = offset;
  event.reason = reason;
  return event;
}

}  // namespace

IngestWorker::IngestWorker(memory_bank::Store& store, memory_bank::Retriever& retriever,
                           memory_bank::MemoryCache& cache, DepositMaker maker,
                           const IngestConfiguration& options, IngestHooks hooks)
    : store_(store),
      retriever_(retriever),
      cache_(cache),
      maker_(std::move(maker)),
      options_(options),
      hooks_(std::move(hooks)) {
  const memory_bank::StoreCounts counts = store_.counts(Digest{});
  backlog_ = counts.pending;
  applied_through_ = counts.applied_offset;
  thread_ = std::jthread([this](const std::stop_token& stopped) { run(stopped); });
}

IngestWorker::~IngestWorker() { stop(); }

void IngestWorker::wake(int64_t entries) {
  backlog_ += entries;
  const std::lock_guard lock(mutex_);
  ++wakes_;
  woken_.notify_all();
}

bool IngestWorker::wait_applied(int64_t offset, int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  applied_.wait_for(lock,
                    std::chrono::milliseconds(std::clamp(timeout_ms, int64_t{0}, kLongestWaitMs)),
                    [&] { return applied_through_ >= offset || stopping_; });
  return applied_through_ >= offset;
}

// The worker may apply an entry before wake() has counted it.
int64_t IngestWorker::backlog() const { return std::max<int64_t>(0, backlog_.load()); }

IngestCounters IngestWorker::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

void IngestWorker::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    applied_.notify_all();
  }
  thread_.request_stop();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void IngestWorker::run(const std::stop_token& stopped) {
  const c10::InferenceMode inference;
  int64_t seen_wakes = 0;
  bool drained = true;
  while (!stopped.stop_requested()) {
    try {
      std::vector<LogEntry> entries;
      // Everything before the first unapplied entry is applied, so the log is always read from its
      // beginning.
      persist([&] { entries = store_.pending_log(0, options_.batch_documents); }, stopped);
      if (!entries.empty()) {
        apply(std::move(entries), stopped);
        drained = false;
        settled(drained);
        continue;
      }
      if (!drained) {
        drained = true;
        settled(drained);
      }
    } catch (const Stopped&) {
      return;
    } catch (const std::exception& error) {
      recover(error, stopped);
      continue;
    }
    std::unique_lock lock(mutex_);
    woken_.wait(lock, stopped, [&] { return wakes_ != seen_wakes; });
    seen_wakes = wakes_;
  }
}

void IngestWorker::settled(bool drained) const {
  if (hooks_.settled) {
    hooks_.settled(drained);
  }
}

// An error that is neither the document's nor the disk's: the log is read again after a pause, so
// nothing is lost or skipped.
void IngestWorker::recover(const std::exception& error, const std::stop_token& stopped) {
  pause(kLongestPauseMs, error.what(), stopped);
  backlog_ = store_.counts(Digest{}).pending;
}

void IngestWorker::pause(int64_t ms, const std::string& reason, const std::stop_token& stopped) {
  std::unique_lock lock(mutex_);
  counters_.error = reason;
  woken_.wait_for(lock, stopped, std::chrono::milliseconds(ms), [] { return false; });
}

void IngestWorker::apply(std::vector<LogEntry> entries, const std::stop_token& stopped) {
  std::vector<PlannedPut> batch;
  std::set<std::pair<std::string, std::string>> in_batch;
  int64_t tokens = 0;
  int64_t unreported = 0;
  const auto flush = [&](int64_t through) {
    apply_puts(batch, stopped);
    batch.clear();
    in_batch.clear();
    tokens = 0;
    finished(through, unreported);
    unreported = 0;
  };

  int64_t through = 0;
  for (LogEntry& entry : entries) {
    if (stopped.stop_requested()) {
      break;
    }
    const auto identity = std::pair(entry.document.name_space, entry.document.id);
    const int64_t offset = entry.offset;
    if (entry.kind == LogEntry::Kind::erase) {
      // A put of the same document that was logged earlier must land before its erase.
      if (in_batch.count(identity) > 0) {
        flush(through);
      }
      apply_erase(entry, stopped);
    } else {
      try {
        const auto verdict = in_batch.count(identity) == 0 ? keep_out(entry) : std::nullopt;
        if (verdict) {
          // Its offset is applied before those of the batch: what was reported so far still waits.
          hold_back(entry, *verdict, stopped);
          through = offset;
          ++unreported;
          continue;
        }
        PlannedPut put = plan(entry);
        if (tokens + put.tokens > options_.batch_tokens && !batch.empty()) {
          flush(through);
        }
        tokens += put.tokens;
        in_batch.insert(identity);
        batch.push_back(std::move(put));
      } catch (const std::exception& error) {
        reject(entry, error.what(), stopped);
      }
    }
    through = offset;
    ++unreported;
  }
  flush(through);
}

// A document that is known is brought up to date whatever its new text is like.
std::optional<memory_bank::GateVerdict> IngestWorker::keep_out(const LogEntry& entry) const {
  if (!hooks_.gate || !entry.gated || store_.find(entry.document.name_space, entry.document.id)) {
    return std::nullopt;
  }
  return hooks_.gate(entry.document);
}

// A version that is already there needs no model: its commit only marks the offset applied.
PlannedPut IngestWorker::plan(const LogEntry& entry) const {
  const auto before = store_.find(entry.document.name_space, entry.document.id);
  if (before && before->version >= entry.document.version) {
    return {.entry = entry, .chunks = {}, .key_texts = {}};
  }
  return maker_.plan(entry);
}

void IngestWorker::apply_puts(std::vector<PlannedPut>& puts, const std::stop_token& stopped) {
  if (puts.empty()) {
    return;
  }
  const Stopwatch watch;
  try {
    commit(puts, maker_.make(puts), stopped);
  } catch (const Stopped&) {
    throw;
  } catch (const std::exception&) {
    // One of them may be poison: alone, the others go through.
    for (PlannedPut& put : puts) {
      apply_singly(put, stopped);
    }
  }
  const std::lock_guard lock(mutex_);
  counters_.ms += watch.elapsed_ms();
}

void IngestWorker::apply_singly(PlannedPut& put, const std::stop_token& stopped) {
  for (int attempt = 1;; ++attempt) {
    try {
      commit({put}, maker_.make({&put, 1}), stopped);
      return;
    } catch (const Stopped&) {
      throw;
    } catch (const std::exception& error) {
      if (attempt == kTries || hopeless(error)) {
        reject(put.entry, fmt::format("{} (tried {} times)", error.what(), attempt), stopped);
        return;
      }
    }
  }
}

void IngestWorker::apply_erase(const LogEntry& entry, const std::stop_token& stopped) {
  const Replacement replaced(store_, entry.document);
  bool was_there = false;
  int64_t row = 0;
  persist([&] { was_there = store_.erase(entry, &row); }, stopped);
  if (was_there) {
    replaced.forget(retriever_, cache_, 0);
    emit(about(Event::Kind::deleted, entry.document, entry.offset));
  }
}

void IngestWorker::commit(const std::vector<PlannedPut>& puts, std::vector<Deposit> deposits,
                          const std::stop_token& stopped) {
  std::vector<Replacement> replaced;
  for (const Deposit& deposit : deposits) {
    replaced.emplace_back(store_, deposit.document);
  }
  std::vector<CommitOutcome> outcomes;
  persist([&] { outcomes = store_.commit(deposits); }, stopped);

  int64_t stored = 0;
  int64_t tokens = 0;
  bool deferred = false;
  std::vector<Event> events;
  for (std::size_t i = 0; i < deposits.size(); ++i) {
    tokens += puts[i].tokens;
    if (outcomes[i] != CommitOutcome::stored) {
      continue;
    }
    const Document& document = deposits[i].document;
    ++stored;
    deferred = deferred || puts[i].deferred;
    const auto now = store_.find(document.name_space, document.id);
    replaced[i].forget(retriever_, cache_, now ? now->row : 0);
    // A higher version later in the same transaction brings its own keys.
    if (now && now->version == document.version) {
      retriever_.add({.document_row = now->row,
                      .name_space = document.name_space,
                      .valid_from_us = document.valid_from_us,
                      .keys = std::move(deposits[i].keys)});
    }
    events.push_back(about(Event::Kind::adapted, document, deposits[i].offset));
  }
  {
    const std::lock_guard lock(mutex_);
    counters_.documents += stored;
    counters_.tokens += tokens;
  }
  for (const Event& event : events) {
    emit(event);
  }
  if (deferred && hooks_.deferred) {
    hooks_.deferred();
  }
}

void IngestWorker::reject(const LogEntry& entry, const std::string& reason,
                          const std::stop_token& stopped) {
  persist([&] { store_.reject(entry, reason); }, stopped);
  emit(about(Event::Kind::rejected, entry.document, entry.offset, reason));
}

void IngestWorker::hold_back(const LogEntry& entry, const memory_bank::GateVerdict& verdict,
                             const std::stop_token& stopped) {
  persist([&] { store_.hold_back(entry, verdict); }, stopped);
  emit(about(Event::Kind::held, entry.document, entry.offset, verdict.reason));
}

// Runs a store call until it succeeds. A full disk is waited out: the log keeps everything, and
// nothing behind the entry may overtake it.
void IngestWorker::persist(const std::function<void()>& write, const std::stop_token& stopped) {
  for (int64_t pause_ms = kFirstPauseMs;; pause_ms = std::min(2 * pause_ms, kLongestPauseMs)) {
    try {
      write();
      const std::lock_guard lock(mutex_);
      counters_.error.clear();
      return;
    } catch (const Error& error) {
      if (!must_wait(error)) {
        throw;
      }
      pause(pause_ms, error.what(), stopped);
    }
    if (stopped.stop_requested()) {
      throw Stopped();
    }
  }
}

void IngestWorker::finished(int64_t through, int64_t entries) {
  backlog_ -= entries;
  const std::lock_guard lock(mutex_);
  applied_through_ = std::max(applied_through_, through);
  applied_.notify_all();
}

void IngestWorker::emit(const Event& event) const {
  if (hooks_.event) {
    hooks_.event(event);
  }
}

}  // namespace alluvium::service
