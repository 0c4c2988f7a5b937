// alluvium ask: a question, its answer as it is made, what was read for it and how long that took.
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "alluvium/service/compose.h"
#include "connection.h"
#include "time_argument.h"
#include "verbs.h"

namespace alluvium::app {
namespace {

struct AskOptions {
  ConnectionOptions connection;
  service::Question question;
  std::string as_of;
  int64_t deadline_ms = 0;
};

/// Prints pieces as they come, without the white space before the first word.
class AnswerPrinter {
 public:
  bool print(std::string_view piece) {
    if (!has_text_) {
      const std::size_t begin = piece.find_first_not_of(" \n\t");
      if (begin == std::string_view::npos) {
        return true;
      }
      piece.remove_prefix(begin);
      has_text_ = true;
    }
    fmt::print("{}", piece);
    std::fflush(stdout);
    return true;
  }

  bool has_text() const { return has_text_; }

 private:
  bool has_text_ = false;
};

std::string trim(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \n\t");
  return begin == std::string::npos
             ? ""
             : text.substr(begin, text.find_last_not_of(" \n\t") - begin + 1);
}

void print_json(const AskOptions& options, const service::Answer& answer) {
  nlohmann::json citations = nlohmann::json::array();
  for (const service::Citation& citation : answer.citations) {
    citations.push_back({{"id", citation.id},
                         {"version", citation.version},
                         {"title", citation.title},
                         {"weight", citation.weight},
                         {"score", citation.score},
                         {"question_log_probability", citation.question_log_probability},
                         {"evidence", citation.evidence}});
  }
  const nlohmann::json object = {{"question", options.question.text},
                                 {"answer", trim(answer.text)},
                                 {"citations", citations},
                                 {"codec", answer.codec},
                                 {"note", answer.note},
                                 {"reader", answer.reader},
                                 {"refused", answer.refused},
                                 {"confidence", answer.confidence},
                                 {"finish", answer.finish},
                                 {"log_probability", answer.log_probability},
                                 {"prompt_tokens", answer.prompt_tokens},
                                 {"memory_slots", answer.memory_slots},
                                 {"recomputed_tokens", answer.recomputed_tokens},
                                 {"answer_tokens", answer.answer_tokens},
                                 {"retrieve_ms", answer.retrieve_ms},
                                 {"load_ms", answer.load_ms},
                                 {"choose_ms", answer.choose_ms},
                                 {"first_token_ms", answer.first_token_ms},
                                 {"total_ms", answer.total_ms}};
  fmt::print("{}\n", object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_details(const service::Answer& answer) {
  for (const service::Citation& citation : answer.citations) {
    fmt::print("  [{:3.0f} %] {} v{}  {}\n", 100 * citation.weight, citation.id, citation.version,
               citation.title);
  }
  if (!answer.note.empty()) {
    fmt::print("  note: {}\n", answer.note);
  }
  fmt::print(
      "  reader {}, confidence {:.0f} %; codec {}, {} memory slots, {} question tokens, {} answer "
      "tokens; retrieve {:.1f} ms, load {:.1f} ms, first token {:.1f} ms, total {:.1f} ms\n",
      answer.reader, 100 * answer.confidence, answer.codec, answer.memory_slots,
      answer.prompt_tokens, answer.answer_tokens, answer.retrieve_ms, answer.load_ms,
      answer.first_token_ms, answer.total_ms);
}

int run(AskOptions options) {
  options.question.name_space = options.connection.name_space;
  if (!options.as_of.empty()) {
    options.question.as_of_us = parse_time_argument(options.as_of);
  }
  service::Client client(client_options(options.connection));
  if (options.connection.json) {
    print_json(options, client.ask(options.question, nullptr, options.deadline_ms));
    return 0;
  }
  AnswerPrinter printer;
  const service::Answer answer = client.ask(
      options.question, [&](std::string_view piece) { return printer.print(piece); },
      options.deadline_ms);
  fmt::print("{}\n", printer.has_text() ? "" : "(no words)");
  print_details(answer);
  return 0;
}

}  // namespace

void add_ask(CLI::App& program, int& exit_code) {
  auto options = std::make_shared<AskOptions>();
  service::Question& question = options->question;
  CLI::App* verb = program.add_subcommand("ask", "Ask a question and stream the answer");
  verb->add_option("question", question.text, "The question")->required();
  add_connection_options(*verb, options->connection);
  add_namespace_option(*verb, options->connection);
  verb->add_option("--codec", question.codec,
                   "none (bare model), text (re-read the documents) or kv (stored memories)")
      ->check(CLI::IsMember({"none", "text", "kv"}));
  verb->add_option(
      "--reader", question.reader,
      "none, or a reader of the service by name or name@version; default: the active one");
  verb->add_option(
          "--compose", question.compose,
          "of several documents: choose the one that fits best, read them together, in "
          "sequence, or blend them: in sequence with some rows recomputed, or reuse: with rows "
          "kept from earlier sequences")
      ->check(CLI::IsMember(service::compose_words()));
  verb->add_option("--retrieval", question.retrieval, "bm25, vector, hybrid or rrf")
      ->check(CLI::IsMember({"bm25", "vector", "hybrid", "rrf"}));
  verb->add_option("--top-k", question.top_k, "Documents read")->check(CLI::Range(1, 1000));
  verb->add_option("--document", question.document_ids, "Read exactly this document; repeatable");
  verb->add_option("--as-of", options->as_of,
                   "Answer from what was valid by this date, such as 2024-05-01");
  verb->add_option("--max-tokens", question.max_tokens, "Longest answer")
      ->check(CLI::Range(1, 1 << 20));
  verb->add_option("--temperature", question.temperature, "0 takes the likeliest token")
      ->check(CLI::Range(0.0, 100.0));
  verb->add_option("--top-p", question.top_p, "Sample from the likeliest tokens of this share")
      ->check(CLI::Range(0.0, 1.0));
  verb->add_option("--seed", question.seed, "Of the sampler");
  verb->add_option("--deadline", options->deadline_ms, "Give up after this many milliseconds")
      ->check(CLI::Range(1, 86'400'000));
  verb->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace alluvium::app
