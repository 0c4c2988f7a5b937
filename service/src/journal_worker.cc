#include "journal_worker.h"

#include <algorithm>
#include <map>
#include <utility>

#include "wire_documents.h"

namespace alluvium::service {
namespace {

constexpr std::size_t kBatch = 256;
constexpr const char* kRetryAfterMs = "1000";

}  // namespace

JournalWorker::JournalWorker(Engine& engine, CompletionQueue& completions, FlushWaiter& flushes,
                             std::size_t capacity)
    : engine_(engine), completions_(completions), flushes_(flushes), queue_(capacity) {
  thread_ = std::jthread([this] { run(); });
}

JournalWorker::~JournalWorker() { finish(); }

void JournalWorker::finish() {
  queue_.close();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void JournalWorker::run() {
  while (auto first = queue_.pop()) {
    std::vector<Item> items = queue_.drain(kBatch - 1);
    items.insert(items.begin(), std::move(*first));
    std::vector<JournalEntry> batch;
    for (Item& item : items) {
      if (auto* entry = std::get_if<JournalEntry>(&item)) {
        batch.push_back(std::move(*entry));
        continue;
      }
      // A flush covers what came before it, so that must be in the log first.
      log(batch);
      begin_flush(std::move(std::get<FlushRequest>(item)));
    }
    log(batch);
  }
}

void JournalWorker::begin_flush(FlushRequest flush) {
  try {
    flush.offset = highest_offset_ > 0 ? highest_offset_ : engine_.status().store.logged_offset;
    flushes_.add(std::move(flush));
  } catch (const Error& error) {
    completions_.push(
        Reply{flush.client, make_nack(wire_error_of(error), error.what(), flush.request)});
  }
}

void JournalWorker::log(std::vector<JournalEntry>& batch) {
  if (batch.empty()) {
    return;
  }
  std::vector<memory_bank::LogEntry> entries;
  for (JournalEntry& item : batch) {
    entries.push_back(std::move(item.entry));
  }
  try {
    for (const int64_t offset : engine_.log(entries)) {
      highest_offset_ = std::max(highest_offset_, offset);
    }
    acknowledge(batch, entries);
  } catch (const ResourceExhausted& error) {
    refuse(batch, entries, WireError::disk_full, error.what());
  } catch (const Error& error) {
    refuse(batch, entries, wire_error_of(error), error.what());
  } catch (const std::exception& error) {
    refuse(batch, entries, WireError::internal, error.what());
  }
  batch.clear();
}

void JournalWorker::acknowledge(const std::vector<JournalEntry>& batch,
                                std::span<const memory_bank::LogEntry> entries) {
  std::map<std::pair<std::string, std::string>, Journaled> by_client;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    Journaled& done = by_client[{batch[i].client, entries[i].session}];
    done.client = batch[i].client;
    done.session = entries[i].session;
    done.cumulative = std::max(done.cumulative, entries[i].sequence);
    done.messages += 1;
    done.bytes += batch[i].bytes;
  }
  for (auto& [key, done] : by_client) {
    completions_.push(std::move(done));
  }
}

void JournalWorker::refuse(const std::vector<JournalEntry>& batch,
                           std::span<const memory_bank::LogEntry> entries, WireError code,
                           const std::string& reason) {
  for (std::size_t i = 0; i < batch.size(); ++i) {
    completions_.push(Journaled{batch[i].client, entries[i].session, 0, 1, batch[i].bytes});
    Message nack = make_nack(code, reason);
    nack.sequence = entries[i].sequence;
    nack.attributes["retry_after_ms"] = kRetryAfterMs;
    completions_.push(Reply{batch[i].client, std::move(nack)});
  }
}

}  // namespace alluvium::service
