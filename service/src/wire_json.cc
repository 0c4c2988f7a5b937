// The JSON bodies of replies.
#include <nlohmann/json.hpp>

#include "alluvium/core/error.h"
#include "alluvium/core/utf8.h"
#include "wire_documents.h"

namespace alluvium::service {
namespace {

using nlohmann::json;

constexpr std::size_t kExcerptBytes = 1000;

/// Texts come from outside; a malformed one must not make a whole reply impossible.
json text_of(const std::string& text) { return replace_invalid_utf8(text); }

template <class Read>
void read_json(std::string_view text, const Read& read) {
  try {
    read(json::parse(text));
  } catch (const json::exception& error) {
    throw InvalidArgument(fmt::format("a JSON body is not as documented: {}", error.what()));
  }
}

}  // namespace

std::string citations_to_json(const std::vector<Citation>& citations) {
  json list = json::array();
  for (const Citation& citation : citations) {
    list.push_back({{"id", text_of(citation.id)},
                    {"version", citation.version},
                    {"title", text_of(citation.title)},
                    {"weight", citation.weight},
                    {"score", citation.score},
                    {"question_log_probability", citation.question_log_probability},
                    {"evidence", citation.evidence}});
  }
  return list.dump();
}

std::vector<Citation> citations_from_json(std::string_view text) {
  std::vector<Citation> citations;
  read_json(text, [&](const json& list) {
    for (const json& item : list) {
      Citation citation;
      item.at("id").get_to(citation.id);
      item.at("version").get_to(citation.version);
      item.at("title").get_to(citation.title);
      item.at("weight").get_to(citation.weight);
      item.at("score").get_to(citation.score);
      // Not sent by earlier versions.
      citation.question_log_probability = item.value("question_log_probability", 0.0);
      citation.evidence = item.value("evidence", 0.0);
      citations.push_back(std::move(citation));
    }
  });
  return citations;
}

std::string answer_to_json(const Answer& answer) {
  return json{{"codec", answer.codec},
              {"note", text_of(answer.note)},
              {"reader", answer.reader},
              {"refused", answer.refused},
              {"confidence", answer.confidence},
              {"log_probability", answer.log_probability},
              {"mean_log_probability", answer.mean_log_probability},
              {"finish", answer.finish},
              {"prompt_tokens", answer.prompt_tokens},
              {"memory_slots", answer.memory_slots},
              {"recomputed_tokens", answer.recomputed_tokens},
              {"answer_tokens", answer.answer_tokens},
              {"retrieve_ms", answer.retrieve_ms},
              {"load_ms", answer.load_ms},
              {"choose_ms", answer.choose_ms},
              {"first_token_ms", answer.first_token_ms},
              {"total_ms", answer.total_ms}}
      .dump();
}

void read_answer_json(std::string_view text, Answer& answer) {
  read_json(text, [&](const json& item) {
    item.at("codec").get_to(answer.codec);
    item.at("note").get_to(answer.note);
    item.at("reader").get_to(answer.reader);
    item.at("refused").get_to(answer.refused);
    item.at("confidence").get_to(answer.confidence);
    item.at("log_probability").get_to(answer.log_probability);
    item.at("finish").get_to(answer.finish);
    item.at("prompt_tokens").get_to(answer.prompt_tokens);
    item.at("memory_slots").get_to(answer.memory_slots);
    item.at("answer_tokens").get_to(answer.answer_tokens);
    item.at("retrieve_ms").get_to(answer.retrieve_ms);
    item.at("load_ms").get_to(answer.load_ms);
    // Likewise.
    answer.choose_ms = item.value("choose_ms", 0.0);
    answer.recomputed_tokens = item.value("recomputed_tokens", int64_t{0});
    answer.mean_log_probability = item.value("mean_log_probability", 0.0);
    item.at("first_token_ms").get_to(answer.first_token_ms);
    item.at("total_ms").get_to(answer.total_ms);
  });
}

std::string summaries_to_json(const std::vector<memory_bank::DocumentSummary>& summaries) {
  json list = json::array();
  for (const memory_bank::DocumentSummary& summary : summaries) {
    list.push_back({{"namespace", text_of(summary.name_space)},
                    {"id", text_of(summary.id)},
                    {"version", summary.version},
                    {"title", text_of(summary.title)},
                    {"valid_from_us", summary.valid_from_us},
                    {"created_us", summary.created_us},
                    {"text_bytes", summary.text_bytes},
                    {"tokens", summary.tokens},
                    {"chunks", summary.chunks},
                    {"memory_bytes", summary.memory_bytes}});
  }
  return list.dump();
}

std::vector<memory_bank::DocumentSummary> summaries_from_json(std::string_view text) {
  std::vector<memory_bank::DocumentSummary> summaries;
  read_json(text, [&](const json& list) {
    for (const json& item : list) {
      memory_bank::DocumentSummary summary;
      item.at("namespace").get_to(summary.name_space);
      item.at("id").get_to(summary.id);
      item.at("version").get_to(summary.version);
      item.at("title").get_to(summary.title);
      item.at("valid_from_us").get_to(summary.valid_from_us);
      item.at("created_us").get_to(summary.created_us);
      item.at("text_bytes").get_to(summary.text_bytes);
      item.at("tokens").get_to(summary.tokens);
      item.at("chunks").get_to(summary.chunks);
      item.at("memory_bytes").get_to(summary.memory_bytes);
      summaries.push_back(std::move(summary));
    }
  });
  return summaries;
}

std::string dead_letters_to_json(const std::vector<memory_bank::DeadLetter>& letters) {
  json list = json::array();
  for (const memory_bank::DeadLetter& letter : letters) {
    list.push_back({{"source", text_of(letter.source)},
                    {"line", letter.line},
                    {"reason", text_of(letter.reason)},
                    {"content", text_of(letter.content)},
                    {"created_us", letter.created_us}});
  }
  return list.dump();
}

std::vector<memory_bank::DeadLetter> dead_letters_from_json(std::string_view text) {
  std::vector<memory_bank::DeadLetter> letters;
  read_json(text, [&](const json& list) {
    for (const json& item : list) {
      memory_bank::DeadLetter letter;
      item.at("source").get_to(letter.source);
      item.at("line").get_to(letter.line);
      item.at("reason").get_to(letter.reason);
      item.at("content").get_to(letter.content);
      item.at("created_us").get_to(letter.created_us);
      letters.push_back(std::move(letter));
    }
  });
  return letters;
}

std::string held_to_json(const std::vector<memory_bank::HeldDocument>& held) {
  json list = json::array();
  for (const memory_bank::HeldDocument& one : held) {
    const std::string_view text = one.document.text;
    const std::string_view excerpt = text.substr(0, kExcerptBytes);
    list.push_back(
        {{"namespace", text_of(one.document.name_space)},
         {"id", text_of(one.document.id)},
         {"version", one.document.version},
         {"title", text_of(one.document.title)},
         {"text", text_of(std::string(excerpt.substr(0, complete_utf8_prefix(excerpt))))},
         {"valid_from_us", one.document.valid_from_us},
         {"created_us", one.created_us},
         {"selector", text_of(one.verdict.selector)},
         {"target_version", one.verdict.target_version},
         {"score", one.verdict.score},
         {"reason", text_of(one.verdict.reason)}});
  }
  return list.dump();
}

std::vector<memory_bank::HeldDocument> held_from_json(std::string_view text) {
  std::vector<memory_bank::HeldDocument> held;
  read_json(text, [&](const json& list) {
    for (const json& item : list) {
      memory_bank::HeldDocument one;
      item.at("namespace").get_to(one.document.name_space);
      item.at("id").get_to(one.document.id);
      item.at("version").get_to(one.document.version);
      item.at("title").get_to(one.document.title);
      item.at("text").get_to(one.document.text);
      item.at("valid_from_us").get_to(one.document.valid_from_us);
      item.at("created_us").get_to(one.created_us);
      item.at("selector").get_to(one.verdict.selector);
      item.at("target_version").get_to(one.verdict.target_version);
      item.at("score").get_to(one.verdict.score);
      item.at("reason").get_to(one.verdict.reason);
      held.push_back(std::move(one));
    }
  });
  return held;
}

std::string readers_to_json(const std::vector<ReaderStatus>& readers) {
  json list = json::array();
  for (const ReaderStatus& reader : readers) {
    list.push_back({{"name", text_of(reader.name)},
                    {"version", reader.version},
                    {"active", reader.active},
                    {"created", text_of(reader.created)},
                    {"metrics", reader.metrics}});
  }
  return list.dump();
}

std::vector<ReaderStatus> readers_from_json(std::string_view text) {
  std::vector<ReaderStatus> readers;
  read_json(text, [&](const json& list) {
    for (const json& item : list) {
      ReaderStatus reader;
      item.at("name").get_to(reader.name);
      item.at("version").get_to(reader.version);
      item.at("active").get_to(reader.active);
      item.at("created").get_to(reader.created);
      item.at("metrics").get_to(reader.metrics);
      readers.push_back(std::move(reader));
    }
  });
  return readers;
}

std::string findings_to_json(const std::vector<std::string>& findings) {
  json list = json::array();
  for (const std::string& finding : findings) {
    list.push_back(text_of(finding));
  }
  return list.dump();
}

std::vector<std::string> findings_from_json(std::string_view text) {
  std::vector<std::string> findings;
  read_json(text, [&](const json& list) { list.get_to(findings); });
  return findings;
}

std::string status_to_json(const EngineStatus& status) {
  const memory_bank::StoreCounts& store = status.store;
  return json{{"documents", store.documents},
              {"chunks", store.chunks},
              {"memories", store.memories},
              {"stale_memories", store.stale_memories},
              {"keys", store.keys},
              {"tombstones", store.tombstones},
              {"dead_letters", store.dead_letters},
              {"held_documents", store.held_documents},
              {"logged_offset", store.logged_offset},
              {"applied_offset", store.applied_offset},
              {"pending", store.pending},
              {"memory_bytes", store.memory_bytes},
              {"database_bytes", store.database_bytes},
              {"cache_hits", status.cache.hits},
              {"cache_misses", status.cache.misses},
              {"cache_evictions", status.cache.evictions},
              {"cache_bytes", status.cache.bytes},
              {"cache_entries", status.cache.entries},
              {"cache_variants", status.cache.variants},
              {"decoder_fingerprint", status.decoder_fingerprint},
              {"encoder_fingerprint", status.encoder_fingerprint},
              {"codec", status.codec},
              {"reader", status.reader},
              {"reader_problem", text_of(status.reader_problem)},
              {"device", status.device_reason},
              {"gate", text_of(status.gate)},
              {"questions", status.questions},
              {"documents_adapted", status.documents_adapted},
              {"tokens_read", status.tokens_read},
              {"ingest_ms", status.ingest_ms},
              {"remaking", status.remaking},
              {"memory_report", json::parse(report_to_json(status.memories))},
              {"ingest_error", text_of(status.ingest_error)}}
      .dump();
}

}  // namespace alluvium::service
