#include "fake_engine.h"

#include <chrono>
#include <sstream>
#include <thread>

#include "alluvium/core/error.h"

namespace alluvium::tests {

FakeEngine::FakeEngine(const std::string& directory) : store_(memory_bank::Store::open(directory)) {
  const memory_bank::StoreCounts counts = store_->counts({});
  logged_ = counts.logged_offset;
  applied_ = counts.applied_offset;
}

FakeEngine::~FakeEngine() = default;

void FakeEngine::on_event(std::function<void(const service::Event&)> callback) {
  const std::lock_guard lock(mutex_);
  callback_ = std::move(callback);
}

std::vector<int64_t> FakeEngine::log(std::span<const memory_bank::LogEntry> entries) {
  ++log_calls;
  while (log_blocked) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (disk_full) {
    throw ResourceExhausted("the disk is full");
  }
  const std::vector<int64_t> offsets = store_->append_log(entries);
  {
    const std::lock_guard lock(mutex_);
    for (const int64_t offset : offsets) {
      logged_ = std::max(logged_, offset);
    }
  }
  if (apply) {
    apply_all();
  }
  return offsets;
}

void FakeEngine::apply_all() {
  const std::lock_guard lock(mutex_);
  for (const memory_bank::LogEntry& entry : store_->pending_log(applied_, 1 << 20)) {
    service::Event event;
    event.name_space = entry.document.name_space;
    event.id = entry.document.id;
    event.version = entry.document.version;
    event.offset = entry.offset;
    if (entry.kind == memory_bank::LogEntry::Kind::erase) {
      int64_t row = 0;
      store_->erase(entry, &row);
      event.kind = service::Event::Kind::deleted;
    } else {
      memory_bank::Deposit deposit;
      deposit.offset = entry.offset;
      deposit.document = entry.document;
      store_->commit(std::span(&deposit, 1));
    }
    applied_ = entry.offset;
    if (callback_) {
      callback_(event);
    }
  }
  applied_ = std::max(applied_, logged_);
  applied_changed_.notify_all();
}

bool FakeEngine::wait_applied(int64_t offset, int64_t timeout_ms) {
  std::unique_lock lock(mutex_);
  return applied_changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                                   [&] { return applied_ >= offset; });
}

int64_t FakeEngine::backlog() const {
  const std::lock_guard lock(mutex_);
  return logged_ - applied_ + extra_backlog;
}

service::Answer FakeEngine::ask(const service::Question& question,
                                const backbone::TextCallback& on_text) {
  if (question.text == "break") {
    throw InternalError("broken on purpose");
  }
  if (question.text.empty()) {
    throw InvalidArgument("the question is empty");
  }
  service::Answer answer;
  answer.codec = question.codec.empty() ? "kv" : question.codec;
  answer.finish = "stop";
  while (question.text.rfind("wait", 0) == 0) {
    answer.text += ".";
    if (!on_text(".")) {
      answer.finish = "cancelled";
      return answer;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::istringstream words(question.text);
  for (std::string word; words >> word;) {
    answer.text += " " + word;
    ++answer.answer_tokens;
    if (on_text && !on_text(" " + word)) {
      answer.finish = "cancelled";
      break;
    }
  }
  answer.citations.push_back({"doc \"1\"", 3, "Tïtle", 0.75, 12.5});
  answer.note = question.name_space;
  answer.prompt_tokens = question.top_k;
  answer.first_token_ms = 1.5;
  answer.total_ms = 2.5;
  return answer;
}

service::EngineStatus FakeEngine::status() {
  service::EngineStatus status;
  status.store = store_->counts({});
  status.codec = "kv";
  return status;
}

const memory_bank::Retriever& FakeEngine::retriever() const {
  throw InternalError("the fake engine has no retriever");
}

void FakeEngine::recompress(const std::string&) {
  throw NotSupported("the fake engine stores no memories");
}

service::MemoryReport FakeEngine::memories() {
  return {.statistics = store_->memory_statistics({}), .preset = "none", .remaking = false};
}

service::ReaderShelf& FakeEngine::readers() {
  throw InternalError("the fake engine has no readers");
}

const memory_bank::Codec& FakeEngine::codec(const std::string&) {
  throw InternalError("the fake engine has no codecs");
}

}  // namespace alluvium::tests
