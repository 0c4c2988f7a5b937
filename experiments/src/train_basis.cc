// alluvium train basis: the directions in which a decoder's keys and values vary, from what it makes of text.
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/experiments/qa_dataset.h"
#include "alluvium/experiments/training.h"
#include "alluvium/learners/adapter_file.h"
#include "alluvium/memory_bank/codec.h"
#include "alluvium/memory_bank/kv_basis.h"
#include "alluvium/service/engine.h"
#include "alluvium/service/prompt.h"
#include "progress_bar.h"
#include "settings.h"

namespace alluvium::experiments {
namespace {

struct BasisOptions {
  std::vector<std::string> documents;
  std::string questions;
  std::string reader = "none";
  std::string out;
  int64_t limit = 500;
  uint64_t seed = 0;
  Settings settings;
};

/// `limit` documents of a file, drawn by the seed; 0: all.
std::vector<Document> draw(const std::string& path, int64_t limit, uint64_t seed) {
  std::vector<Document> documents = load_documents(path);
  Random(seed).shuffle(documents);
  if (limit > 0 && limit < static_cast<int64_t>(documents.size())) {
    documents.resize(static_cast<std::size_t>(limit));
  }
  return documents;
}

constexpr int64_t kQuestionRoom = 128;  // longer questions are left out

/// A question and its first answer.
std::vector<backbone::TokenId> asked_tokens(const QaQuestion& question,
                                            const service::TemplateConfiguration& prompt,
                                            const backbone::Tokenizer& tokenizer) {
  std::vector<backbone::TokenId> tokens =
      service::question_tokens(prompt, tokenizer, question.text);
  if (!question.answers.empty()) {
    for (const backbone::TokenId token :
         tokenizer.encode(" " + question.answers.front(), backbone::SpecialTokens::plain_text)) {
      tokens.push_back(token);
    }
  }
  return tokens;
}

int train_basis(const BasisOptions& o) {
  const c10::InferenceMode no_gradient;
  const service::Configuration configuration = o.settings.configuration();
  std::vector<Document> documents;
  for (const std::string& path : o.documents) {
    for (Document& document : draw(path, o.limit, o.seed)) {
      documents.push_back(std::move(document));
    }
  }
  const service::Models models = service::load_decoder_alone(configuration);
  const backbone::Decoder& decoder = *models.decoder;
  const memory_bank::SharedPrefix prefix = memory_bank::read_shared_prefix(
      decoder, service::prefix_tokens(configuration.prompt, *models.decoder_tokenizer));
  backbone::KvPrefix start;
  start.segments.push_back(prefix.segment);
  start.next_position = static_cast<int64_t>(prefix.tokens.size());

  std::map<std::string, std::vector<QaQuestion>> questions;  // by document
  if (!o.questions.empty()) {
    for (QaQuestion& question : load_questions(o.questions)) {
      for (const std::string& id : question.document_ids) {
        questions[id].push_back(question);
      }
    }
  }
  std::shared_ptr<const backbone::Adapter> adapter;
  if (o.reader != "none") {
    adapter = decoder.prepare(
        learners::load_adapter(o.reader, decoder.geometry().layers, decoder.model()).state);
  }
  memory_bank::KvBasisFit fit(decoder);
  ProgressBar bar("reading", static_cast<int64_t>(documents.size()));
  for (const Document& document : documents) {
    for (const memory_bank::Chunk& chunk :
         service::document_chunks(configuration.prompt, *models.decoder_tokenizer, document)) {
      backbone::KvCache cache =
          decoder.start(start, static_cast<int64_t>(chunk.tokens.size()) + kQuestionRoom);
      backbone::ReadRequest request;
      request.cache = &cache;
      request.tokens = chunk.tokens;
      request.capture = true;
      request.queries = true;
      fit.add(decoder.read({&request, 1}).front());
      const int64_t slots = cache.slots();
      const int64_t next = cache.next_position();
      request.capture = false;
      request.adapter = adapter.get();
      for (const QaQuestion& question : questions[document.id]) {
        const std::vector<backbone::TokenId> asked =
            asked_tokens(question, configuration.prompt, *models.decoder_tokenizer);
        if (static_cast<int64_t>(asked.size()) <= kQuestionRoom) {
          request.tokens = asked;
          fit.add_question(decoder.read({&request, 1}).front().queries);
          cache.rewind(slots, next);
        }
      }
    }
    bar.advance();
  }
  memory_bank::save_kv_basis(o.out, fit.finish());
  fmt::print("{}: fitted to {} tokens of {} documents\n", o.out, fit.rows(), documents.size());
  return 0;
}

}  // namespace

int run_train_basis(const std::vector<std::string>& arguments) {
  BasisOptions options;
  CLI::App app(
      "The directions in which keys and values of a decoder vary, for codec.quantiser = transform. "
      "Any text like that which will be published does; questions about it make the basis a better "
      "one for their like.",
      "alluvium train basis");
  app.add_option("--documents", options.documents, "JSON lines: id, title, text; one file or more")
      ->required();
  app.add_option(
      "--questions", options.questions,
      "JSON lines: id, question, answers, doc_id or doc_ids; what meets the keys is what "
      "those that name a document ask of it");
  app.add_option("--reader", options.reader, "the adapter that asks, a directory, or none");
  app.add_option("--out", options.out, "the basis, a .safetensors file; codec.basis names it")
      ->required();
  app.add_option("--limit", options.limit, "documents of each file, drawn by the seed; 0 = all");
  app.add_option("--seed", options.seed, "of the draw");
  options.settings.add_to(app);
  if (const auto exit_code = Settings::parse(app, arguments)) {
    return *exit_code;
  }
  return train_basis(options);
}

}  // namespace alluvium::experiments
