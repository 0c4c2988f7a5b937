#include "flush_waiter.h"

#include <algorithm>
#include <utility>

#include "alluvium/core/clock.h"
#include "wire_documents.h"

namespace alluvium::service {
namespace {

// How long one wait on the engine may keep others from being looked at.
constexpr int64_t kTurnMs = 50;

}  // namespace

FlushWaiter::FlushWaiter(Engine& engine, CompletionQueue& completions)
    : engine_(engine), completions_(completions) {
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

FlushWaiter::~FlushWaiter() { finish(); }

void FlushWaiter::finish() {
  thread_.request_stop();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void FlushWaiter::add(FlushRequest request) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::move(request));
  changed_.notify_one();
}

bool FlushWaiter::answer(const FlushRequest& request) {
  if (engine_.wait_applied(request.offset, 0)) {
    Message ack(Command::ack, request.request);
    ack.level = AckLevel::applied;
    ack.offset = static_cast<uint64_t>(request.offset);
    completions_.push(Reply{request.client, std::move(ack)});
    return true;
  }
  if (request.deadline_us != 0 && SystemClock().monotonic_us() >= request.deadline_us) {
    completions_.push(
        Reply{request.client, make_nack(WireError::deadline,
                                        "the documents were not applied before the deadline; they "
                                        "are durable and will be",
                                        request.request)});
    return true;
  }
  return false;
}

void FlushWaiter::run(const std::stop_token& stop) {
  std::vector<FlushRequest> mine;
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      if (mine.empty()) {
        changed_.wait(lock, stop, [&] { return !waiting_.empty(); });
      }
      std::move(waiting_.begin(), waiting_.end(), std::back_inserter(mine));
      waiting_.clear();
    }
    std::erase_if(mine, [&](const FlushRequest& request) { return answer(request); });
    if (!mine.empty()) {
      const auto first = std::min_element(
          mine.begin(), mine.end(),
          [](const FlushRequest& a, const FlushRequest& b) { return a.offset < b.offset; });
      engine_.wait_applied(first->offset, kTurnMs);
    }
  }
  const std::lock_guard lock(mutex_);
  mine.insert(mine.end(), waiting_.begin(), waiting_.end());
  for (const FlushRequest& request : mine) {
    completions_.push(Reply{
        request.client, make_nack(WireError::busy, "the service is stopping", request.request)});
  }
}

}  // namespace alluvium::service
