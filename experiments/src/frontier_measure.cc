#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/ScalarType.h>
#include <nlohmann/json.hpp>

#include "alluvium/backbone/generation.h"
#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/core/sha256.h"
#include "alluvium/experiments/frontier_bench.h"
#include "alluvium/experiments/qa_dataset.h"
#include "alluvium/experiments/qa_metrics.h"
#include "alluvium/learners/adapter_file.h"
#include "alluvium/memory_bank/kv_codec.h"
#include "alluvium/memory_bank/kv_record.h"
#include "alluvium/service/engine.h"
#include "alluvium/service/prompt.h"
#include "alluvium/service/readers.h"
#include "alluvium/service/refusal.h"
#include "progress_bar.h"

namespace alluvium::experiments {
namespace {

using backbone::TokenId;
using memory_bank::Chunk;
using memory_bank::KvStages;
using memory_bank::Memory;
using memory_bank::ObservedReading;
using Kind = FrontierSetting::Kind;
using Json = nlohmann::ordered_json;

Json to_json(const FrontierAnswer& answer) {
  return {{"setting", answer.setting},
          {"question", answer.question},
          {"made_under", answer.made_under},
          {"em", answer.em},
          {"f1", answer.f1},
          {"nll", answer.nll},
          {"kl", answer.kl},
          {"bytes", answer.bytes},
          {"tokens", answer.tokens},
          {"first_token_ms", answer.first_token_ms},
          {"ingest_ms", answer.ingest_ms}};
}

FrontierAnswer from_json(const Json& line) {
  FrontierAnswer answer;
  answer.setting = line.at("setting");
  answer.question = line.at("question");
  answer.made_under = line.at("made_under");
  answer.em = line.at("em");
  answer.f1 = line.at("f1");
  answer.nll = line.at("nll");
  answer.kl = line.at("kl");
  answer.bytes = line.at("bytes");
  answer.tokens = line.at("tokens");
  answer.first_token_ms = line.at("first_token_ms");
  answer.ingest_ms = line.at("ingest_ms");
  return answer;
}

/// answers.jsonl of an earlier, perhaps interrupted run; a torn last line is cut off.
std::vector<FrontierAnswer> read_answers(const std::string& path) {
  std::vector<FrontierAnswer> answers;
  std::ifstream file(path, std::ios::binary);
  std::string line;
  uintmax_t whole = 0;
  while (std::getline(file, line) && !file.eof()) {
    const Json parsed = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    ALLUVIUM_CHECK(!parsed.is_discarded(), "{}: line {} is not JSON", path, answers.size() + 1);
    answers.push_back(from_json(parsed));
    whole += line.size() + 1;
  }
  if (std::filesystem::exists(path)) {
    std::filesystem::resize_file(path, whole);
  }
  return answers;
}

/// The models with everything that does not change from setting to setting.
class Laboratory {
 public:
  explicit Laboratory(const service::Configuration& configuration)
      : configuration_(configuration),
        models_(service::load_decoder_alone(configuration)),
        prefix_(memory_bank::read_shared_prefix(
            *models_.decoder,
            service::prefix_tokens(configuration.prompt, *models_.decoder_tokenizer))) {
    memory_bank::register_codecs(registry_);
    generation_.max_tokens = configuration.answer.max_tokens;
    generation_.stop = configuration.prompt.stop;
    generation_.stop_tokens = service::end_tokens(*models_.decoder_tokenizer);
  }

  const backbone::Decoder& decoder() const { return *models_.decoder; }
  const backbone::Tokenizer& tokenizer() const { return *models_.decoder_tokenizer; }
  const memory_bank::KvBasis* basis() const { return models_.basis.get(); }
  const backbone::GenerationOptions& generation() const { return generation_; }

  /// The adapter of a directory; null for "none".
  std::shared_ptr<const service::LoadedReader> reader(const std::string& directory) const {
    if (directory == "none") {
      return nullptr;
    }
    const learners::StoredAdapter stored =
        learners::load_adapter(directory, decoder().geometry().layers, decoder().model());
    return std::make_shared<const service::LoadedReader>(
        service::LoadedReader{stored.manifest, decoder().prepare(stored.state)});
  }

  /// What decides, as in the service, whether it answers at all.
  service::RefusalRule rule(const service::LoadedReader* reader) const {
    return {configuration_.reader, reader, tokenizer()};
  }

  memory_bank::CodecContext context(const memory_bank::CodecOptions& options) const {
    memory_bank::CodecOptions with_positions = options;
    with_positions.positions = configuration_.codec.positions;
    return {.decoder = models_.decoder.get(),
            .tokenizer = models_.decoder_tokenizer.get(),
            .prefix = &prefix_,
            .options = with_positions,
            .basis = models_.basis.get()};
  }

  /// What an answer depends on beside its question and document.
  std::string made_under(const memory_bank::Codec& codec,
                         const service::LoadedReader* reader) const {
    const service::TemplateConfiguration& prompt = configuration_.prompt;
    return to_hex(Sha256()
                      .update(codec.fingerprint().data(), codec.fingerprint().size())
                      .update(nlohmann::json{reader != nullptr ? reader->manifest.sha256 : "",
                                             service::refuse_above(configuration_.reader, reader),
                                             prompt.document, prompt.untitled_document,
                                             prompt.question, prompt.stop, prompt.max_chunk_tokens,
                                             configuration_.codec.positions, generation_.max_tokens}
                                  .dump())
                      .finish());
  }

  std::unique_ptr<memory_bank::Codec> make(const std::string& name) const {
    return registry_.make(name, context({}));
  }

  /// The chunk of a document that holds the answer, else its first.
  Chunk chunk_with(const Document& document, const std::string& answer) const {
    const std::vector<Chunk> chunks =
        service::document_chunks(configuration_.prompt, tokenizer(), document);
    for (const Chunk& chunk : chunks) {
      if (document.text.substr(chunk.begin, chunk.end - chunk.begin).find(answer) !=
          std::string::npos) {
        return chunk;
      }
    }
    return chunks.at(0);
  }

  std::vector<TokenId> question_tokens(const std::string& question) const {
    return service::question_tokens(configuration_.prompt, tokenizer(), question);
  }

 private:
  const service::Configuration& configuration_;
  const service::Models models_;
  const memory_bank::SharedPrefix prefix_;
  memory_bank::CodecRegistry registry_{"codec"};
  backbone::GenerationOptions generation_;
};

/// A setting ready for use.
struct Arm {
  FrontierSetting setting;
  std::unique_ptr<KvStages> stages;                     // kv
  std::unique_ptr<memory_bank::Codec> plain;            // the others
  std::shared_ptr<const service::LoadedReader> reader;  // null: the bare decoder
  service::RefusalRule rule;

  const backbone::Adapter* adapter() const { return reader ? reader->adapter.get() : nullptr; }
  const memory_bank::Codec& codec() const { return stages ? stages->codec() : *plain; }
};

Arm make_arm(const Laboratory& laboratory, const FrontierSetting& setting) {
  auto reader = laboratory.reader(setting.reader);
  Arm arm{setting, nullptr, nullptr, reader, laboratory.rule(reader.get())};
  switch (setting.kind) {
    case Kind::kv:
      arm.stages = memory_bank::make_kv_stages(laboratory.context(setting.options));
      break;
    case Kind::closed_book:
      arm.plain = laboratory.make("none");
      break;
    case Kind::text:
    case Kind::cut_text:
      arm.plain = laboratory.make("text");
      break;
  }
  return arm;
}

/// A document as one arm keeps it.
struct Kept {
  std::shared_ptr<const Memory> memory;
  int64_t bytes = 0;
  double ingest_ms = 0;
};

/// Readings of one chunk, made when the first arm that needs such a one asks.
class Readings {
 public:
  explicit Readings(const Chunk& chunk) : chunk_(chunk) {}

  const std::pair<ObservedReading, double>& of(const Arm& arm) {
    const std::pair asked{arm.stages->observer(), arm.stages->reads_queries()};
    const auto found = readings_.find(asked);
    if (found != readings_.end()) {
      return found->second;
    }
    const Stopwatch watch;
    ObservedReading reading = arm.stages->observe({&chunk_, 1}).front();
    return readings_[asked] = {std::move(reading), watch.elapsed_ms()};
  }

 private:
  const Chunk& chunk_;
  std::map<std::pair<std::string, bool>, std::pair<ObservedReading, double>> readings_;
};

Kept keep(const Arm& arm, const Chunk& chunk, const memory_bank::KvBasis* basis,
          Readings& readings) {
  Kept kept;
  if (!arm.stages) {
    Chunk cut = chunk;
    if (arm.setting.kind == Kind::cut_text) {
      const auto tokens = static_cast<double>(chunk.tokens.size());
      cut.tokens.resize(std::max<std::size_t>(1, std::lround(arm.setting.keep * tokens)));
    }
    kept.memory = std::make_shared<const Memory>(std::move(arm.plain->compress({&cut, 1}).front()));
    kept.bytes = arm.setting.kind == Kind::closed_book
                     ? 0
                     : static_cast<int64_t>(cut.tokens.size() * sizeof(TokenId));
    return kept;
  }
  const auto& [reading, read_ms] = readings.of(arm);
  const Stopwatch watch;
  const std::vector<std::byte> record =
      memory_bank::encode_record(arm.stages->keep(chunk, reading));
  kept.ingest_ms = read_ms + watch.elapsed_ms();
  kept.memory = std::make_shared<const Memory>(memory_bank::decode_record(record, basis));
  kept.bytes = static_cast<int64_t>(record.size());
  return kept;
}

struct Asked {
  FrontierAnswer answer;
  at::Tensor log_probabilities;  // [answer tokens, vocabulary]
};

enum class Generate { yes, no };

Asked ask(const Laboratory& laboratory, const Arm& arm, const Kept& kept,
          const QaQuestion& question, Generate generate) {
  const backbone::Decoder& decoder = laboratory.decoder();
  const backbone::Adapter* adapter = arm.adapter();
  const std::vector<TokenId> prompt = laboratory.question_tokens(question.text);
  const std::vector<TokenId> wanted = laboratory.tokenizer().encode(
      " " + (question.answers.empty() ? std::string() : question.answers.front()),
      backbone::SpecialTokens::plain_text);
  const int64_t room =
      static_cast<int64_t>(prompt.size() + arm.rule.beginning().size()) +
      std::max(laboratory.generation().max_tokens, static_cast<int64_t>(wanted.size()));
  Asked asked;
  FrontierAnswer& answer = asked.answer;
  answer.setting = arm.setting.name;
  answer.question = question.id;
  const Stopwatch watch;
  backbone::KvCache cache = decoder.start(arm.codec().to_prefix({&kept.memory, 1}, room), room);
  const int64_t slots = cache.slots() + static_cast<int64_t>(prompt.size());
  const int64_t position = cache.next_position() + static_cast<int64_t>(prompt.size());
  if (generate == Generate::yes) {
    const backbone::ReadRequest read{
        .cache = &cache, .tokens = prompt, .logits = backbone::Logits::last, .adapter = adapter};
    const at::Tensor logits = decoder.read({&read, 1}).front().logits;
    const double evidence = arm.rule.weigh(decoder, cache, logits);
    answer.first_token_ms = watch.elapsed_ms();
    if (!arm.rule.refuses(evidence)) {
      backbone::GenerationOptions options = laboratory.generation();
      options.adapter = adapter;
      options.reference = kept.memory->tokens;
      options.topic = prompt;
      const backbone::Generation generation = backbone::generate_after(
          decoder, laboratory.tokenizer(), cache, arm.rule.answering(logits, evidence), options);
      answer.first_token_ms += generation.first_token_ms;
      answer.em = exact_match(generation.text, question.answers);
      answer.f1 = token_f1(generation.text, question.answers);
    }
    cache.rewind(slots - 1, position - 1);
  } else if (prompt.size() > 1) {
    const backbone::ReadRequest request{
        .cache = &cache, .tokens = std::span(prompt).first(prompt.size() - 1), .adapter = adapter};
    decoder.read({&request, 1});
  }
  // The wanted answer after the question, whose last token is read for its logits.
  std::vector<TokenId> forced = {prompt.back()};
  forced.insert(forced.end(), wanted.begin(), wanted.end() - 1);
  const backbone::ReadRequest request{
      .cache = &cache, .tokens = forced, .logits = backbone::Logits::all, .adapter = adapter};
  asked.log_probabilities = at::log_softmax(decoder.read({&request, 1}).front().logits.cpu(), -1);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    answer.nll -= asked.log_probabilities[static_cast<int64_t>(i)][wanted[i]].item<double>();
  }
  answer.nll /= static_cast<double>(wanted.size());
  return asked;
}

double divergence(const at::Tensor& from, const at::Tensor& to) {
  return (from.exp() * (from - to)).sum(-1).mean().item<double>();
}

}  // namespace

FrontierResult measure_frontier(const FrontierOptions& options) {
  const c10::InferenceMode inference;
  ALLUVIUM_CHECK(options.shards >= 1 && options.shard >= 0 && options.shard < options.shards,
                 "shard {} of {} does not exist", options.shard + 1, options.shards);
  const std::vector<QaQuestion> questions =
      sample_questions(load_questions(options.questions), options.seed, options.limit);
  std::map<std::string, std::vector<const QaQuestion*>> by_document;
  std::vector<std::string> order;
  for (const QaQuestion& question : questions) {
    ALLUVIUM_CHECK(!question.document_ids.empty() && !question.answers.empty(),
                   "question {} names no document or has no answer", question.id);
    auto& asked = by_document[question.document_ids.front()];
    if (asked.empty()) {
      order.push_back(question.document_ids.front());
    }
    asked.push_back(&question);
  }
  FrontierResult result;
  std::vector<std::string> mine;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (static_cast<int64_t>(i) % options.shards == options.shard) {
      result.drawn += static_cast<int64_t>(by_document[order[i]].size());
      mine.push_back(order[i]);
    } else {
      by_document.erase(order[i]);
    }
  }
  std::map<std::string, Document> documents;
  for (Document& document : load_documents(options.documents)) {
    if (by_document.count(document.id) > 0) {
      documents.emplace(document.id, std::move(document));
    }
  }

  std::filesystem::create_directories(options.directory);
  const std::string path = options.directory + "/answers.jsonl";
  const Laboratory laboratory(options.configuration);
  std::vector<Arm> arms;
  for (const FrontierSetting& setting : options.settings) {
    arms.push_back(make_arm(laboratory, setting));
  }
  std::map<std::string, std::string> made_under;
  for (const Arm& arm : arms) {
    made_under[arm.setting.name] = laboratory.made_under(arm.codec(), arm.reader.get());
  }
  std::map<std::pair<std::string, std::string>, FrontierAnswer> done;
  for (FrontierAnswer& answer : read_answers(path)) {
    const auto now = made_under.find(answer.setting);
    if (now != made_under.end() && now->second == answer.made_under) {
      done[{answer.setting, answer.question}] = std::move(answer);
    }
  }
  std::ofstream file(path, std::ios::binary | std::ios::app);
  std::map<std::string, Arm> references;  // lossless, one for each reader
  for (const FrontierSetting& setting : options.settings) {
    references.try_emplace(
        setting.reader,
        make_arm(laboratory,
                 {.name = "reference", .kind = Kind::kv, .options = {}, .reader = setting.reader}));
  }

  ProgressBar bar("frontier", result.drawn);
  for (const std::string& id : mine) {
    if (options.stop && options.stop()) {
      break;
    }
    const auto found = documents.find(id);
    ALLUVIUM_CHECK(found != documents.end(), "no document {}", id);
    // Questions of one document may lie in different chunks.
    std::map<std::size_t, std::vector<const QaQuestion*>> by_chunk;
    std::map<std::size_t, Chunk> chunks;
    for (const QaQuestion* question : by_document[id]) {
      Chunk chunk = laboratory.chunk_with(found->second, question->answers.front());
      by_chunk[chunk.begin].push_back(question);
      chunks.emplace(chunk.begin, std::move(chunk));
    }
    for (const auto& [begin, asked] : by_chunk) {
      const Chunk& chunk = chunks.at(begin);
      Readings readings(chunk);
      std::map<std::pair<std::string, std::string>, at::Tensor> exact;  // by question and reader
      for (const Arm& arm : arms) {
        std::vector<const QaQuestion*> missing;
        for (const QaQuestion* question : asked) {
          if (done.count({arm.setting.name, question->id}) == 0) {
            missing.push_back(question);
          }
        }
        if (missing.empty()) {
          continue;
        }
        const Kept kept = keep(arm, chunk, laboratory.basis(), readings);
        for (const QaQuestion* question : missing) {
          const std::pair key(question->id, arm.setting.reader);
          if (exact.count(key) == 0) {
            const Arm& reference = references.at(arm.setting.reader);
            exact[key] =
                ask(laboratory, reference, keep(reference, chunk, laboratory.basis(), readings),
                    *question, Generate::no)
                    .log_probabilities;
          }
          Asked one = ask(laboratory, arm, kept, *question, Generate::yes);
          one.answer.kl = divergence(exact.at(key), one.log_probabilities);
          one.answer.made_under = made_under.at(arm.setting.name);
          one.answer.bytes = kept.bytes;
          one.answer.tokens = static_cast<int64_t>(chunk.tokens.size());
          one.answer.ingest_ms = kept.ingest_ms;
          file << to_json(one.answer).dump() << '\n';
          done[{arm.setting.name, question->id}] = std::move(one.answer);
        }
      }
      file.flush();
      ALLUVIUM_CHECK(file.good(), "cannot write {}", path);
      bar.advance(static_cast<int64_t>(asked.size()));
    }
  }

  const backbone::DevicePolicy& policy = laboratory.decoder().policy();
  result.bytes_per_token_16_bit =
      static_cast<double>(laboratory.decoder().geometry().kv_bytes_per_token(2));
  result.device = policy.reason;
  result.dtype = c10::toString(policy.dtype);
  result.threads = policy.threads;
  std::vector<const QaQuestion*> answered;
  for (const QaQuestion& question : questions) {
    if (std::all_of(options.settings.begin(), options.settings.end(),
                    [&](const auto& setting) {
                      return done.count({setting.name, question.id}) > 0;
                    }) &&
        by_document.count(question.document_ids.front()) > 0) {
      answered.push_back(&question);
    }
  }
  result.answered = static_cast<int64_t>(answered.size());
  for (const FrontierSetting& setting : options.settings) {
    for (const QaQuestion* question : answered) {
      result.answers.push_back(done.at({setting.name, question->id}));
    }
  }
  return result;
}

}  // namespace alluvium::experiments
