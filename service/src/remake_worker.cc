#include "remake_worker.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>
#include <vector>

#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/sentences.h"
#include "alluvium/service/prompt.h"
#include "engine_tokenizer_mark.h"
#include "ingest_deposit.h"

namespace alluvium::service {
namespace {

constexpr int64_t kRows = 32;
constexpr auto kRetryAfter = std::chrono::seconds(5);
constexpr auto kReclaimEvery = std::chrono::minutes(10);
/// A segment that is no more than half alive is rewritten ...
constexpr double kLiveShare = 0.5;
/// ... unasked when as many bytes as this are dead, and more than a third of all.
constexpr int64_t kDeadBytes = int64_t{64} << 20;

}  // namespace

RemakeWorker::RemakeWorker(memory_bank::Store& store, memory_bank::Retriever& retriever,
                           memory_bank::MemoryCache& cache, const Models& models,
                           const memory_bank::Codec& codec, const Configuration& configuration,
                           bool other_tokenizer)
    : store_(store),
      retriever_(retriever),
      cache_(cache),
      models_(models),
      codec_(codec),
      options_(configuration.ingest),
      prompt_(configuration.prompt),
      other_tokenizer_(other_tokenizer) {
  thread_ = std::jthread([this](const std::stop_token& stopped) { run(stopped); });
}

RemakeWorker::~RemakeWorker() { stop(); }

void RemakeWorker::wake() {
  const std::lock_guard lock(mutex_);
  wanted_ = true;
  busy_ = true;
  woken_.notify_all();
}

std::string RemakeWorker::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

void RemakeWorker::stop() {
  thread_.request_stop();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void RemakeWorker::run(const std::stop_token& stopped) {
  const c10::InferenceMode inference;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      woken_.wait_for(lock, stopped, kReclaimEvery, [&] { return wanted_; });
      if (stopped.stop_requested()) {
        return;
      }
      if (wanted_) {
        error_.clear();
      }
      wanted_ = false;
    }
    try {
      pass(stopped);
      reclaim();
    } catch (const std::exception& error) {
      std::unique_lock lock(mutex_);
      error_ = error.what();
      woken_.wait_for(lock, stopped, kRetryAfter, [] { return false; });
      wanted_ = true;
    }
    const std::lock_guard lock(mutex_);
    busy_ = wanted_;
  }
}

// Keys first: a document that cannot be found is worse off than one that is read as text.
void RemakeWorker::pass(const std::stop_token& stopped) {
  make_keys(stopped);
  if (!codec_.stores_tensors()) {
    return;
  }
  make_memories(stopped, [&](int64_t after) {
    return store_.chunks_without_memory(codec_.fingerprint(), after, kRows);
  });
  const int64_t replaced = make_memories(stopped, [&](int64_t after) {
    return store_.chunks_not_made_for(codec_.aim(), after, kRows);
  });
  if (replaced > 0 && !stopped.stop_requested()) {
    store_.compact(kLiveShare);
  }
}

void RemakeWorker::reclaim() {
  const memory_bank::MemoryStatistics statistics = store_.memory_statistics(codec_.aim());
  const int64_t dead = statistics.segment_bytes - statistics.bytes;
  if (dead > kDeadBytes && 3 * dead > statistics.segment_bytes) {
    store_.compact(kLiveShare);
  }
}

void RemakeWorker::make_keys(const std::stop_token& stopped) {
  const Digest& encoder = models_.encoder->fingerprint();
  int64_t after = 0;
  while (!stopped.stop_requested()) {
    const std::vector<int64_t> rows = store_.documents_without_keys(encoder, after, kRows);
    if (rows.empty()) {
      return;
    }
    for (const int64_t row : rows) {
      after = row;
      const auto document = store_.read_document(row);
      if (!document) {
        continue;
      }
      const std::vector<std::string> texts =
          memory_bank::key_texts(document->title, document->text, options_.keys_per_document);
      std::vector<float> keys = embed_keys(*models_.encoder, texts);
      if (store_.replace_keys(row, encoder, keys, models_.encoder->dimension())) {
        retriever_.add({.document_row = row,
                        .name_space = document->name_space,
                        .valid_from_us = document->valid_from_us,
                        .keys = std::move(keys)});
        // The ingest thread may have replaced the document between the two lines above; its row
        // must not come back.
        if (!store_.summary(row)) {
          retriever_.remove(row);
        }
      }
    }
  }
}

int64_t RemakeWorker::make_memories(const std::stop_token& stopped, const Page& next_page) {
  int64_t after = 0;
  int64_t chunks = 0;
  while (!stopped.stop_requested()) {
    std::vector<memory_bank::ChunkRow> rows = next_page(after);
    if (rows.empty()) {
      break;
    }
    after = rows.back().row;
    if (other_tokenizer_) {
      std::erase_if(rows, [&](const memory_bank::ChunkRow& row) { return !is_current(row); });
    }
    chunks += std::ssize(rows);
    std::size_t from = 0;
    while (from < rows.size() && !stopped.stop_requested()) {
      int64_t tokens = 0;
      std::size_t to = from;
      do {
        tokens += static_cast<int64_t>(rows[to].chunk.tokens.size());
        ++to;
      } while (to < rows.size() && tokens + static_cast<int64_t>(rows[to].chunk.tokens.size()) <=
                                       options_.batch_tokens);
      add(std::span(rows).subspan(from, to - from));
      from = to;
    }
  }
  return chunks;
}

bool RemakeWorker::is_current(const memory_bank::ChunkRow& row) const {
  const auto document = store_.read_document(row.document_row);
  if (!document) {
    return false;
  }
  const auto fresh = document_chunks(prompt_, *models_.decoder_tokenizer, *document);
  return std::any_of(fresh.begin(), fresh.end(), [&](const memory_bank::Chunk& chunk) {
    return match_chunk({row}, chunk).row != 0;
  });
}

void RemakeWorker::add(std::span<const memory_bank::ChunkRow> rows) {
  try {
    add_together(rows);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::resource_exhausted || error.kind() == ErrorKind::unavailable) {
      throw;
    }
    // One chunk that cannot be compressed must not keep the others from it; it stays text.
    if (rows.size() > 1) {
      for (std::size_t i = 0; i < rows.size(); ++i) {
        add(rows.subspan(i, 1));
      }
      return;
    }
    const std::lock_guard lock(mutex_);
    error_ = fmt::format("chunk {} of document row {}: {}", rows[0].part, rows[0].document_row,
                         error.what());
  }
}

void RemakeWorker::add_together(std::span<const memory_bank::ChunkRow> rows) {
  std::vector<int64_t> ids;
  std::vector<memory_bank::Chunk> chunks;
  for (const memory_bank::ChunkRow& row : rows) {
    ids.push_back(row.row);
    chunks.push_back(row.chunk);
  }
  store_.add_memories(ids, compress_chunks(codec_, chunks, options_.batch_tokens));
  // A question in hand may still put the old one back: it answers as well until it is pushed out.
  for (const int64_t id : ids) {
    cache_.remove(id);
  }
}

}  // namespace alluvium::service
