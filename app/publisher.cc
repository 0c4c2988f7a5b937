#include "publisher.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "console.h"

namespace alluvium::app {
namespace {

constexpr std::size_t kLetterBytes = 4096;
constexpr int64_t kTurnMs = 500;

memory_bank::DeadLetter letter_of(const streams::BadRecord& bad) {
  return {bad.source, bad.line, bad.reason, bad.content.substr(0, kLetterBytes), 0};
}

}  // namespace

Publisher::Publisher(service::Client& client, ProgressLine& progress)
    : client_(client), progress_(progress) {
  client_.on_result([this](const service::PublishResult& result) { take_result(result); });
}

int64_t Publisher::publish(const std::string& location, const streams::SourceOptions& options,
                           int64_t limit) {
  const auto source = streams::open_source(location, options);
  int64_t sent = 0;
  while (limit == 0 || sent < limit) {
    const auto item = source->next();
    if (!item) {
      break;
    }
    if (const auto* bad = std::get_if<streams::BadRecord>(&*item)) {
      ++summary_.bad;
      letters_.push_back(letter_of(*bad));
    } else {
      send(std::get<streams::Envelope>(*item));
      ++sent;
    }
    deliver_letters();
    draw(*source, sent, limit);
  }
  return sent;
}

void Publisher::send(const streams::Envelope& envelope) {
  const Document& document = envelope.document;
  memory_bank::DeadLetter origin{envelope.source, envelope.line, "",
                                 document.text.substr(0, kLetterBytes), 0};
  try {
    const uint64_t sequence = client_.put(document);
    summary_.bytes += static_cast<int64_t>(document.text.size());
    in_flight_.emplace(sequence, std::move(origin));
  } catch (const InvalidArgument& error) {
    ++summary_.bad;
    origin.reason = error.what();
    letters_.push_back(std::move(origin));
  }
}

void Publisher::take_result(const service::PublishResult& result) {
  auto origin = in_flight_.extract(result.sequence);
  if (result.accepted) {
    ++summary_.accepted;
    return;
  }
  ++summary_.refused;
  memory_bank::DeadLetter letter =
      origin.empty() ? memory_bank::DeadLetter{} : std::move(origin.mapped());
  letter.reason = fmt::format("{}: {}", to_string(result.code), result.reason);
  letters_.push_back(std::move(letter));
}

void Publisher::deliver_letters() {
  for (memory_bank::DeadLetter& letter : std::exchange(letters_, {})) {
    client_.add_dead_letter(letter);
    if (summary_.problems.size() < kListedProblems) {
      summary_.problems.push_back(std::move(letter));
    }
  }
}

void Publisher::finish() {
  client_.drain();
  deliver_letters();
  summary_.seconds = watch_.elapsed_ms() / 1e3;
}

void Publisher::wait_until_adapted() {
  std::optional<int64_t> first_pending;
  while (true) {
    try {
      client_.flush(kTurnMs);
      break;
    } catch (const service::RequestRefused& refused) {
      if (refused.code() != service::WireError::deadline) {
        throw;
      }
    }
    const auto status = nlohmann::json::parse(client_.status());
    const auto pending = status.at("pending").get<int64_t>();
    const double ingest_s = status.at("ingest_ms").get<double>() / 1e3;
    const auto tokens = status.at("tokens_read").get<double>();
    first_pending = std::max(pending, first_pending.value_or(0));
    const double share =
        *first_pending > 0 ? 1 - static_cast<double>(pending) / static_cast<double>(*first_pending)
                           : 1.0;
    progress_.draw(fmt::format("{} documents to read, {:.0f} tokens/s", pending,
                               ingest_s > 0 ? tokens / ingest_s : 0.0),
                   share);
  }
  progress_.clear();
  summary_.held = nlohmann::json::parse(client_.status()).at("held_documents").get<int64_t>();
  summary_.adapted = true;
  summary_.adapted_seconds = watch_.elapsed_ms() / 1e3;
}

void Publisher::draw(const streams::Source& source, int64_t sent, int64_t limit) {
  std::optional<double> share = source.progress();
  const int64_t expected = limit > 0 ? limit : source.expected_documents().value_or(0);
  if (expected > 0) {
    share = static_cast<double>(sent) / static_cast<double>(expected);
  }
  const double seconds = watch_.elapsed_ms() / 1e3;
  progress_.draw(fmt::format("{} documents, {:.0f} documents/s, {}/s", sent,
                             static_cast<double>(sent) / seconds,
                             format_bytes(static_cast<double>(summary_.bytes) / seconds)),
                 share);
}

}  // namespace alluvium::app
