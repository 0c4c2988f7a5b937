#include "answerer.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include <c10/core/InferenceMode.h>

#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/core/utf8.h"
#include "alluvium/service/prompt.h"
#include "answer_chunks.h"
#include "answer_stream.h"
#include "document_choice.h"
#include "engine_tokenizer_mark.h"
#include "reader_figures.h"

namespace alluvium::service {

using memory_bank::Codec;
using memory_bank::Memory;

/// A question checked and completed with the configured values.
struct Answerer::Request {
  const Question& question;
  const Codec* codec = nullptr;
  memory_bank::RetrievalMethod retrieval = memory_bank::RetrievalMethod::hybrid;
  std::shared_ptr<const LoadedReader> reader;  // pinned until the answer is whole
  int64_t documents = 0;
  Compose compose = Compose::choose;
  std::vector<backbone::TokenId> tokens;
  backbone::GenerationOptions generation;

  /// Slots the question and its answer take after the prefix.
  int64_t room() const { return static_cast<int64_t>(tokens.size()) + generation.max_tokens; }
};

/// One document that may be read, and the part of it that is.
struct Answerer::Reading {
  Citation citation;
  memory_bank::ChunkRow chunk;
};

/// What the answer goes on from.
struct Answerer::Context {
  backbone::KvCache cache;
  at::Tensor logits;    // after the question, where it has been read
  double evidence = 0;  // then: log-odds against a refusal; 0 when the reader declares none
  std::vector<backbone::TokenId> text;  // of what is attended to
};

namespace {

/// Each document's share of the retrieval score; equal shares when no score is positive.
void weigh(std::vector<Citation>& citations) {
  double total = 0;
  for (const Citation& citation : citations) {
    total += std::max(0.0, citation.score);
  }
  for (Citation& citation : citations) {
    citation.weight = total > 0 ? std::max(0.0, citation.score) / total
                                : 1.0 / static_cast<double>(citations.size());
  }
}

}  // namespace

Answerer::Answerer(AnswererContext context)
    : context_(std::move(context)), end_tokens_(end_tokens(*context_.models.decoder_tokenizer)) {}

Answer Answerer::answer(const Question& question, const backbone::TextCallback& on_text) const {
  const c10::InferenceMode inference;
  const Stopwatch whole;
  const Request request = check(question);
  Answer answer;
  answer.prompt_tokens = static_cast<int64_t>(request.tokens.size());

  Stopwatch part;
  const std::vector<Reading> readings = choose(request, answer);
  answer.retrieve_ms = part.elapsed_ms();

  part.restart();
  const Codec* codec = readings.empty() ? context_.codecs.at("none").get() : request.codec;
  const auto memories = load(readings, codec, answer);
  if (request.compose == Compose::blend || request.compose == Compose::reuse) {
    require_every_row(compose_word(request.compose), readings, memories);
  }
  answer.codec = codec->name();
  const LoadedReader* reader = readings.empty() ? nullptr : request.reader.get();
  const RefusalRule rule(context_.configuration.reader, reader, *context_.models.decoder_tokenizer);
  Context context = attend(request, *codec, reader, rule, readings, memories, answer);
  answer.load_ms = part.elapsed_ms() - answer.choose_ms;
  if (!context.logits.defined()) {
    read_question(request, reader, rule, context, answer);
  }

  answer.reader = reader != nullptr ? reader->label() : "none";
  if (rule.refuses(context.evidence)) {
    refuse(*reader, RefusalRule::probability(context.evidence), on_text, answer);
    answer.first_token_ms = answer.total_ms = whole.elapsed_ms();
    return answer;
  }
  const double before_generation_ms = whole.elapsed_ms();
  const backbone::Generation generation = generate(request, reader, rule, context, on_text, answer);
  answer.first_token_ms = before_generation_ms + generation.first_token_ms;
  answer.total_ms = whole.elapsed_ms();
  return answer;
}

void Answerer::read_question(const Request& request, const LoadedReader* reader,
                             const RefusalRule& rule, Context& context, Answer& answer) const {
  const backbone::Decoder& decoder = *context_.models.decoder;
  const backbone::ReadRequest read{&context.cache, request.tokens, backbone::Logits::last,
                                   false,          false,          adapter_of(reader)};
  context.logits = decoder.read({&read, 1}).front().logits;
  context.evidence = rule.weigh(decoder, context.cache, context.logits);
  if (answer.citations.size() == 1) {
    answer.citations.front().evidence = context.evidence;
  }
}

void Answerer::refuse(const LoadedReader& reader, double probability,
                      const backbone::TextCallback& on_text, Answer& answer) {
  answer.refused = true;
  answer.text = refusal_of(reader);
  answer.confidence = probability;
  answer.log_probability = answer.mean_log_probability = std::log(probability);
  const bool heard = !on_text || on_text(answer.text);
  answer.finish =
      backbone::to_string(heard ? backbone::FinishReason::stop : backbone::FinishReason::cancelled);
}

backbone::Generation Answerer::generate(const Request& request, const LoadedReader* reader,
                                        const RefusalRule& rule, Context& context,
                                        const backbone::TextCallback& on_text,
                                        Answer& answer) const {
  // What may yet be withheld is not streamed.
  const double refuse_below = context_.configuration.reader.refuse_below;
  const bool may_refuse = reader != nullptr && refuse_below > 0;
  AnswerStream stream(on_text);
  backbone::GenerationOptions options = request.generation;
  options.adapter = adapter_of(reader);
  options.reference = context.text;
  options.topic = request.tokens;
  backbone::Generation generation = backbone::generate_after(
      *context_.models.decoder, *context_.models.decoder_tokenizer, context.cache,
      rule.answering(context.logits, context.evidence), options, [&](std::string_view piece) {
        // An empty piece only asks whether to go on.
        return may_refuse ? !on_text || on_text("") : stream.push(piece);
      });
  answer.text = trim(generation.text);
  answer.finish = backbone::to_string(generation.finish);
  answer.log_probability = generation.log_probability;
  answer.mean_log_probability = generation.mean_log_probability();
  answer.answer_tokens = static_cast<int64_t>(generation.tokens.size());
  answer.confidence = confidence_of(reader, answer.mean_log_probability, context.evidence);
  answer.refused = reader != nullptr && is_refusal(answer.text, refusal_of(*reader));
  if (answer.refused && declares_refusal(reader)) {
    answer.confidence = RefusalRule::probability(context.evidence);
  }
  if (may_refuse) {
    if (!answer.refused && answer.confidence < refuse_below) {
      answer.refused = true;
      answer.text = refusal_of(*reader);
    }
    if (on_text && !on_text(answer.text)) {
      answer.finish = backbone::to_string(backbone::FinishReason::cancelled);
    }
  }
  return generation;
}

Answerer::Request Answerer::check(const Question& question) const {
  const Configuration& configuration = context_.configuration;
  const AnswerConfiguration& defaults = configuration.answer;
  ALLUVIUM_CHECK(!trim(question.text).empty(), "the question is empty");
  if (const auto at = find_invalid_utf8(question.text)) {
    throw InvalidArgument(fmt::format("the question is not UTF-8: malformed at byte {}", *at));
  }
  ALLUVIUM_CHECK(question.top_k >= 0, "top_k must not be negative, got {}", question.top_k);
  ALLUVIUM_CHECK(question.max_tokens >= 0, "max_tokens must not be negative, got {}",
                 question.max_tokens);

  const std::string& codec = question.codec.empty() ? defaults.codec : question.codec;
  const auto found = context_.codecs.find(codec);
  ALLUVIUM_CHECK(found != context_.codecs.end(), "unknown codec '{}'; known: none, text, kv",
                 codec);

  Request request{.question = question,
                  .codec = found->second.get(),
                  .reader = nullptr,
                  .tokens = {},
                  .generation = {}};
  request.retrieval = memory_bank::parse_retrieval_method(
      question.retrieval.empty() ? defaults.retrieval : question.retrieval);
  request.compose = parse_compose(question.compose.empty() ? defaults.compose : question.compose);
  request.reader = context_.readers.find(question.reader);
  request.documents =
      std::min(question.top_k > 0 ? question.top_k : defaults.top_k, defaults.max_chunks);
  request.tokens =
      question_tokens(configuration.prompt, *context_.models.decoder_tokenizer, question.text);
  const auto length = static_cast<int64_t>(request.tokens.size());
  ALLUVIUM_CHECK(length <= defaults.max_question_tokens,
                 "the question has {} tokens; answer.max_question_tokens allows {}", length,
                 defaults.max_question_tokens);

  request.generation.max_tokens =
      question.max_tokens > 0 ? question.max_tokens : defaults.max_tokens;
  request.generation.temperature =
      question.temperature >= 0 ? question.temperature : defaults.temperature;
  request.generation.top_p = question.top_p >= 0 ? question.top_p : defaults.top_p;
  request.generation.seed = question.seed;
  request.generation.read_ahead = defaults.read_ahead;
  request.generation.stop = configuration.prompt.stop;
  request.generation.stop_tokens = end_tokens_;
  const int64_t positions = context_.models.decoder->geometry().max_positions;
  ALLUVIUM_CHECK(request.room() <= positions,
                 "question and answer take {} positions; the decoder has {}", request.room(),
                 positions);
  return request;
}

std::vector<Answerer::Reading> Answerer::choose(const Request& request, Answer& answer) const {
  if (std::string_view(request.codec->name()) == "none") {
    return {};
  }
  const bool named = !request.question.document_ids.empty();
  std::vector<Reading> readings = named ? read_named(request) : read_hits(request);
  if (readings.empty()) {
    answer.note = fmt::format("no document of namespace '{}' {}; this is the bare model's answer",
                              request.question.name_space,
                              named ? "has the ids asked for" : "fits the question");
  }
  for (const Reading& reading : readings) {
    answer.citations.push_back(reading.citation);
  }
  weigh(answer.citations);
  return readings;
}

std::vector<Answerer::Reading> Answerer::read_hits(const Request& request) const {
  const memory_bank::RetrievalQuery query{.name_space = request.question.name_space,
                                          .text = request.question.text,
                                          .limit = request.documents,
                                          .as_of_us = request.question.as_of_us,
                                          .method = request.retrieval};
  // A hit may be replaced before it is read; its successor is found by a second search.
  for (int attempt = 0;; ++attempt) {
    auto hits = context_.retriever.search(query);
    if (request.compose == Compose::choose && !hits.empty()) {
      const double least = context_.configuration.answer.choice.least_share * hits.front().score;
      std::erase_if(hits, [&](const auto& hit) { return hit.score < least; });
    }
    std::vector<Reading> readings;
    for (const memory_bank::RetrievalHit& hit : hits) {
      if (auto reading = open(request, hit.document_row, hit.score)) {
        readings.push_back(std::move(*reading));
      }
    }
    if (readings.size() == hits.size() || attempt == 1) {
      return readings;
    }
  }
}

std::vector<Answerer::Reading> Answerer::read_named(const Request& request) const {
  std::vector<Reading> readings;
  for (const std::string& id : request.question.document_ids) {
    const auto summary = context_.store.find(request.question.name_space, id);
    const bool visible = summary && (request.question.as_of_us == 0 ||
                                     summary->valid_from_us <= request.question.as_of_us);
    if (visible &&
        static_cast<int64_t>(readings.size()) < context_.configuration.answer.max_chunks) {
      if (auto reading = open(request, summary->row, 0)) {
        readings.push_back(std::move(*reading));
      }
    }
  }
  return readings;
}

std::optional<Answerer::Reading> Answerer::open(const Request& request, int64_t document_row,
                                                double score) const {
  const auto document = context_.store.read_document(document_row);
  std::vector<memory_bank::ChunkRow> chunks = context_.store.chunks(document_row);
  if (!document || chunks.empty()) {
    return std::nullopt;
  }
  if (context_.other_tokenizer) {
    const std::vector<memory_bank::ChunkRow> stored = std::move(chunks);
    chunks.clear();
    for (const memory_bank::Chunk& fresh : document_chunks(
             context_.configuration.prompt, *context_.models.decoder_tokenizer, *document)) {
      chunks.push_back(match_chunk(stored, fresh));
    }
  }
  std::vector<std::string_view> texts;
  for (const memory_bank::ChunkRow& chunk : chunks) {
    texts.push_back(std::string_view(document->text)
                        .substr(chunk.chunk.begin, chunk.chunk.end - chunk.chunk.begin));
  }
  const std::size_t part = texts.size() == 1 ? 0 : best_part(request.question.text, texts);
  return Reading{.citation = {.id = document->id,
                              .version = document->version,
                              .title = document->title,
                              .score = score},
                 .chunk = std::move(chunks[part])};
}

std::vector<std::shared_ptr<const Memory>> Answerer::load(const std::vector<Reading>& readings,
                                                          const Codec*& codec,
                                                          Answer& answer) const {
  std::vector<std::shared_ptr<const Memory>> memories;
  if (codec->stores_tensors()) {
    for (const Reading& reading : readings) {
      auto memory = find_memory(reading, codec->fingerprint());
      if (!memory) {
        answer.note =
            fmt::format("the memory of '{}' does not fit the running model yet; its text was read",
                        reading.citation.id);
        context_.memory_missed();
        codec = context_.codecs.at("text").get();
        memories.clear();
        break;
      }
      memories.push_back(std::move(memory));
    }
  }
  if (!codec->stores_tensors()) {
    for (const Reading& reading : readings) {
      Memory memory;
      memory.fingerprint = codec->fingerprint();
      memory.document_sha = memory_bank::hash_tokens(reading.chunk.chunk.tokens);
      memory.tokens = reading.chunk.chunk.tokens;
      memories.push_back(std::make_shared<const Memory>(std::move(memory)));
    }
  }
  return memories;
}

void Answerer::require_every_row(const std::string& compose, const std::vector<Reading>& readings,
                                 const std::vector<std::shared_ptr<const Memory>>& memories) {
  for (std::size_t i = 0; memories.size() > 1 && i < memories.size(); ++i) {
    if (!memories[i]->kept.everything()) {
      throw NotSupported(fmt::format(
          "the memory of '{}' does not keep every row, and compose = {} recomputes some of them "
          "among the others: codec.preset lossless, safe, and default with a basis keep them all",
          readings[i].citation.id, compose));
    }
  }
}

memory_bank::BlendedCache Answerer::start(
    Compose compose, const Codec& codec, const std::vector<Reading>& readings,
    const std::vector<std::shared_ptr<const Memory>>& memories, int64_t room) const {
  const backbone::Decoder& decoder = *context_.models.decoder;
  const AnswerConfiguration& answer = context_.configuration.answer;
  switch (compose) {
    case Compose::sequence:
      return {decoder.start(
          codec.to_prefix(memories, room, memory_bank::PositionScheme::sequential), room)};
    case Compose::blend:
      return memory_bank::start_blended(decoder, codec, memories, room, answer.recompute);
    case Compose::reuse: {
      std::vector<int64_t> chunks;
      for (const Reading& reading : readings) {
        chunks.push_back(reading.chunk.row);
      }
      return memory_bank::start_reused(decoder, codec, memories, chunks, room, answer.reuse_alpha,
                                       context_.cache);
    }
    case Compose::choose:
    case Compose::together:
      break;
  }
  return {decoder.start(codec.to_prefix(memories, room), room)};
}

Answerer::Context Answerer::attend(const Request& request, const Codec& codec,
                                   const LoadedReader* reader, const RefusalRule& rule,
                                   const std::vector<Reading>& readings,
                                   const std::vector<std::shared_ptr<const Memory>>& memories,
                                   Answer& answer) const {
  const backbone::Decoder& decoder = *context_.models.decoder;
  const int64_t room = request.room() + static_cast<int64_t>(rule.beginning().size());
  if (memories.size() < 2 || request.compose != Compose::choose) {
    memory_bank::BlendedCache started = start(request.compose, codec, readings, memories, room);
    answer.recomputed_tokens = started.recomputed;
    Context context{std::move(started.cache), {}, 0, {}};
    for (const auto& memory : memories) {
      context.text.insert(context.text.end(), memory->tokens.begin(), memory->tokens.end());
    }
    answer.memory_slots = std::llround(context.cache.mean_slots());
    return context;
  }
  // The longest first: if it does not fit, none has been read; if it does, all do.
  const auto longest = static_cast<std::size_t>(
      std::max_element(memories.begin(), memories.end(),
                       [](const auto& a, const auto& b) { return a->length() < b->length(); }) -
      memories.begin());
  const backbone::KvPrefix of_longest = codec.to_prefix({&memories[longest], 1}, room);
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < memories.size(); ++i) {
    candidates.push_back(
        {.cache = decoder.start(
             i == longest ? of_longest : codec.to_prefix({&memories[i], 1}, room), room),
         .retrieval_score = answer.citations[i].score,
         .logits = {}});
  }
  const Stopwatch watch;
  const std::size_t best = choose_document(
      decoder, candidates,
      {.tokens = request.tokens, .refusal = rule.beginning(), .adapter = adapter_of(reader)},
      choice_weights(context_.configuration.answer.choice, reader));
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    answer.citations[i].weight = candidates[i].weight;
    answer.citations[i].question_log_probability = candidates[i].question_log_probability;
    answer.citations[i].evidence = candidates[i].evidence;
  }
  std::stable_sort(answer.citations.begin(), answer.citations.end(),
                   [](const Citation& a, const Citation& b) { return a.weight > b.weight; });
  answer.choose_ms = watch.elapsed_ms();
  answer.memory_slots = std::llround(candidates[best].cache.mean_slots()) -
                        static_cast<int64_t>(request.tokens.size());
  return {std::move(candidates[best].cache), candidates[best].logits, candidates[best].evidence,
          memories[best]->tokens};
}

std::shared_ptr<const Memory> Answerer::find_memory(const Reading& reading,
                                                    const Digest& fingerprint) const {
  const auto fits = [&](const std::shared_ptr<const Memory>& memory) {
    return memory && memory->fingerprint == fingerprint &&
           memory->tokens == reading.chunk.chunk.tokens;
  };
  if (reading.chunk.row == 0) {
    return nullptr;
  }
  auto memory = context_.cache.find(reading.chunk.row);
  if (fits(memory)) {
    return memory;
  }
  memory = context_.store.load_memory(reading.chunk.row, fingerprint);
  if (!fits(memory)) {
    return nullptr;
  }
  context_.cache.insert(reading.chunk.row, memory);
  return memory;
}

}  // namespace alluvium::service
