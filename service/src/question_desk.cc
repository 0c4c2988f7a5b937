#include "question_desk.h"

#include <limits>
#include <string_view>

#include "alluvium/core/clock.h"
#include "wire_documents.h"

namespace alluvium::service {
namespace {

constexpr std::size_t kQueue = 256;

bool is_past(int64_t deadline_us) {
  return deadline_us != 0 && SystemClock().monotonic_us() >= deadline_us;
}

/// The answer to a question that was cancelled before its turn came.
Answer nothing_said() {
  Answer answer;
  answer.finish = "cancelled";
  return answer;
}

}  // namespace

QuestionDesk::QuestionDesk(Engine& engine, CompletionQueue& completions, int64_t threads)
    : engine_(engine), completions_(completions), pool_(threads, kQueue) {}

QuestionDesk::Taken QuestionDesk::take(const std::string& client, uint64_t request,
                                       Question question, int64_t deadline_us) {
  const Key key{client, request};
  auto flag = std::make_shared<std::atomic<bool>>(false);
  {
    const std::lock_guard lock(mutex_);
    if (!open_.emplace(key, flag).second) {
      return Taken::duplicate;
    }
  }
  const PushResult pushed =
      pool_.submit([this, key, question = std::move(question), deadline_us, flag] {
        answer(key, question, deadline_us, *flag);
        const std::lock_guard lock(mutex_);
        open_.erase(key);
      });
  if (pushed == PushResult::pushed) {
    return Taken::taken;
  }
  const std::lock_guard lock(mutex_);
  open_.erase(key);
  return Taken::busy;
}

bool QuestionDesk::cancel(const std::string& client, uint64_t request) {
  const std::lock_guard lock(mutex_);
  const auto found = open_.find({client, request});
  if (found == open_.end()) {
    return false;
  }
  found->second->store(true);
  return true;
}

void QuestionDesk::cancel_all_of(const std::string& client) {
  const std::lock_guard lock(mutex_);
  for (auto it = open_.lower_bound({client, 0}); it != open_.end() && it->first.first == client;
       ++it) {
    it->second->store(true);
  }
}

void QuestionDesk::finish() {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, flag] : open_) {
      flag->store(true);
    }
  }
  pool_.finish();
}

void QuestionDesk::answer(const Key& key, const Question& question, int64_t deadline_us,
                          const std::atomic<bool>& cancelled) {
  const auto& [client, request] = key;
  const auto reply = [&](Message message) { completions_.push(Reply{client, std::move(message)}); };
  const auto refuse = [&](WireError code, const std::string& reason) {
    reply(make_nack(code, reason, request));
  };
  const auto on_text = [&](std::string_view piece) {
    Message token(Command::token, request);
    token.bodies.emplace_back("text", piece);
    reply(std::move(token));
    return !cancelled.load() && !is_past(deadline_us);
  };
  if (is_past(deadline_us)) {
    refuse(WireError::deadline, "the deadline passed before an answer thread was free");
    return;
  }
  try {
    const Answer answer = cancelled.load() ? nothing_said() : engine_.ask(question, on_text);
    if (!cancelled.load() && answer.finish == "cancelled" && is_past(deadline_us)) {
      refuse(WireError::deadline, "the deadline passed while the answer was generated");
      return;
    }
    Message cite(Command::cite, request);
    cite.bodies.emplace_back("json", citations_to_json(answer.citations));
    reply(std::move(cite));
    Message done(Command::done, request);
    done.bodies.emplace_back("text", answer.text);
    done.bodies.emplace_back("json", answer_to_json(answer));
    reply(std::move(done));
  } catch (const Error& error) {
    refuse(wire_error_of(error), error.what());
  } catch (const std::exception& error) {
    refuse(WireError::internal, error.what());
  }
}

}  // namespace alluvium::service
