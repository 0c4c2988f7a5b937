// Acceptance of the lossless codec: attending to stored keys and values is the same as having read
// the text. One document, exact and after a restart; the same ids; relative positions; any order of
// documents.
#include <algorithm>
#include <optional>
#include <vector>

#include <ATen/ops/arange.h>
#include <c10/core/InferenceMode.h>

#include "alluvium/core/error.h"
#include "alluvium/memory_bank/store.h"
#include "alluvium/service/engine.h"
#include "alluvium/service/prompt.h"
#include "recording_decoder.h"
#include "support/catch.h"
#include "support/paths.h"
#include "tiny_engine.h"

namespace alluvium::tests {
namespace {

using backbone::Decoder;
using backbone::KvPrefix;
using backbone::KvSegment;
using backbone::TokenId;
using memory_bank::Memory;

constexpr int64_t kDecoded = 8;
constexpr double kExact = 1e-4;

const Document kTower = make_document(
    "tower", 1, "Tower", "The iron tower of Port Ellis was raised in 1893 by Ada Vane.");
const Document kBridge = make_document(
    "bridge", 1, "Bridge", "The bridge at Low Ford is 212 metres long and has six arches.");

/// Logits of every question token and of `steps` greedy tokens after it, [tokens, vocabulary].
/// `forced` replaces the greedy choice, so that two readings are compared on the same tokens; it
/// receives the choices when it is empty.
std::vector<at::Tensor> read_on(const Decoder& decoder, backbone::KvCache& cache,
                                const std::vector<TokenId>& question,
                                std::vector<TokenId>& forced) {
  std::vector<at::Tensor> logits;
  const bool choose = forced.empty();
  std::vector<TokenId> next = question;
  for (int64_t step = 0; step <= kDecoded; ++step) {
    const backbone::ReadRequest request{
        .cache = &cache, .tokens = next, .logits = backbone::Logits::all};
    logits.push_back(decoder.read({&request, 1}).at(0).logits);
    if (choose) {
      forced.push_back(static_cast<TokenId>(logits.back()[-1].argmax().item<int64_t>()));
    }
    next = {forced[static_cast<std::size_t>(step)]};
  }
  return logits;
}

std::vector<at::Tensor> read_after(const Decoder& decoder, const KvPrefix& prefix,
                                   const std::vector<TokenId>& question,
                                   std::vector<TokenId>& forced) {
  const int64_t room = static_cast<int64_t>(question.size()) + kDecoded + 1;
  backbone::KvCache cache = decoder.start(prefix, room);
  return read_on(decoder, cache, question, forced);
}

double largest_difference(const std::vector<at::Tensor>& left,
                          const std::vector<at::Tensor>& right) {
  double largest = 0;
  REQUIRE(left.size() == right.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    largest = std::max(largest, left[i].sub(right[i]).abs().max().item<double>());
  }
  return largest;
}

struct Bank {
  service::Models models;
  service::Configuration configuration;
  std::unique_ptr<service::Engine> engine;

  void start() {
    engine.reset();
    engine = service::Engine::start(configuration, models);
  }

  memory_bank::ChunkRow chunk(const std::string& id) const {
    return engine->store().chunks(engine->store().find("default", id)->row).at(0);
  }

  std::shared_ptr<const Memory> stored(const std::string& id) const {
    auto memory = engine->store().load_memory(chunk(id).row, engine->codec("kv").fingerprint());
    REQUIRE(memory != nullptr);
    return memory;
  }

  std::vector<TokenId> prefix() const {
    return models.decoder_tokenizer->encode(configuration.prompt.prefix,
                                            backbone::SpecialTokens::recognise);
  }

  std::vector<TokenId> question() const {
    return models.decoder_tokenizer->encode("Question: Who raised the tower?\nAnswer:");
  }

  KvPrefix to_prefix(const std::string& codec,
                     const std::vector<std::shared_ptr<const Memory>>& memories) const {
    return engine->codec(codec).to_prefix(memories,
                                          static_cast<int64_t>(question().size()) + kDecoded + 1);
  }
};

Bank make_tiny_bank(const TemporaryDirectory& directory) {
  Bank bank{make_tiny_models(directory.path()), tiny_configuration(directory.path()), nullptr};
  bank.start();
  return bank;
}

using Reads = std::vector<std::vector<TokenId>>;

/// The tiny bank, and what its decoder is given to read.
struct RecordedBank {
  explicit RecordedBank(const TemporaryDirectory& directory)
      : bank{make_tiny_models(directory.path()), tiny_configuration(directory.path()), nullptr},
        decoder(std::make_shared<const RecordingDecoder>(bank.models.decoder)) {
    bank.models.decoder = decoder;
    bank.start();
  }

  Bank bank;
  std::shared_ptr<const RecordingDecoder> decoder;
};

/// Everything as one text in one reading: what both codecs must reproduce.
std::vector<at::Tensor> read_whole(const Bank& bank, std::vector<TokenId>& forced) {
  const Decoder& decoder = *bank.models.decoder;
  std::vector<TokenId> before = bank.prefix();
  const std::vector<TokenId> document = bank.chunk("tower").chunk.tokens;
  before.insert(before.end(), document.begin(), document.end());
  const std::vector<TokenId> question = bank.question();
  backbone::KvCache cache =
      decoder.start({}, static_cast<int64_t>(before.size() + question.size()) + kDecoded + 1);
  const backbone::ReadRequest request{.cache = &cache, .tokens = before};
  decoder.read({&request, 1});
  return read_on(decoder, cache, question, forced);
}

void check_exactness(Bank& bank) {
  const c10::InferenceMode inference;
  publish(*bank.engine, {kTower});
  std::vector<TokenId> forced;
  const Decoder& decoder = *bank.models.decoder;
  const std::vector<TokenId> question = bank.question();
  const auto whole = read_whole(bank, forced);
  const auto text =
      read_after(decoder, bank.to_prefix("text", {bank.stored("tower")}), question, forced);
  const auto kv =
      read_after(decoder, bank.to_prefix("kv", {bank.stored("tower")}), question, forced);
  CHECK(largest_difference(whole, text) <= kExact);
  CHECK(largest_difference(text, kv) <= kExact);
  CHECK(largest_difference(whole, kv) <= kExact);

  bank.start();
  const auto restarted =
      read_after(decoder, bank.to_prefix("kv", {bank.stored("tower")}), question, forced);
  CHECK(largest_difference(kv, restarted) == 0);
}

TEST_CASE("kv: a stored document gives the logits of reading its text, also after a restart",
          "[service][kv][property]") {
  const auto seed = GENERATE(range(1U, 4U));
  CAPTURE(seed);
  const TemporaryDirectory directory;
  Bank bank{make_tiny_models(directory.path(), seed), tiny_configuration(directory.path()),
            nullptr};
  bank.start();
  check_exactness(bank);
}

TEST_CASE("kv: the default model's stored document gives the logits of reading its text",
          "[service][kv]") {
  const auto models = default_models();
  if (!models) {
    return;
  }
  const TemporaryDirectory directory;
  Bank bank{*models, reference_configuration(directory.path()), nullptr};
  bank.start();
  check_exactness(bank);
}

TEST_CASE("kv: sixteen stored bits change the default model's logits little", "[service][kv]") {
  const auto models = default_models();
  if (!models) {
    return;
  }
  const c10::InferenceMode inference;
  const TemporaryDirectory directory;
  Bank bank{*models, reference_configuration(directory.path()), nullptr};
  bank.configuration.codec.key_bits = 16;
  bank.configuration.codec.value_bits = 16;
  bank.start();
  publish(*bank.engine, {kTower});
  std::vector<TokenId> forced;
  const auto text = read_after(*models->decoder, bank.to_prefix("text", {bank.stored("tower")}),
                               bank.question(), forced);
  const auto kv = read_after(*models->decoder, bank.to_prefix("kv", {bank.stored("tower")}),
                             bank.question(), forced);
  const double difference = largest_difference(text, kv);
  WARN("largest logit difference of 16-bit keys and values: " << difference);
  CHECK(difference > 0);
  // Half precision keeps 11 bits of each key and value; logits of the default model lie within
  // about 30.
  CHECK(difference < 0.25);
}

TEST_CASE("kv: the ids of a chunk and a question are those of the whole prompt's reading",
          "[service][kv]") {
  const TemporaryDirectory directory;
  RecordedBank recorded(directory);
  const Bank& bank = recorded.bank;
  const backbone::Tokenizer& tokenizer = *bank.models.decoder_tokenizer;
  // A small letter after the prefix's space: joined as one text the two would be one token.
  const Document document = make_document("tower", 1, "tower", kTower.text);
  const std::string text = "Who raised the tower?";
  REQUIRE(recorded.decoder->take() == Reads{bank.prefix()});
  publish(*bank.engine, {document});
  const auto memory = bank.stored("tower");
  CHECK(recorded.decoder->take() == Reads{memory->tokens});
  CHECK(memory->tokens == bank.chunk("tower").chunk.tokens);
  CHECK(memory->document_sha == memory_bank::hash_tokens(memory->tokens));
  CHECK(tokenizer.decode(memory->tokens) == document.title + ": " + document.text + "\n");

  const std::vector<TokenId> question =
      service::question_tokens(bank.configuration.prompt, tokenizer, text);
  const auto ids_of = [&](const char* codec) {
    service::Question asked = ask_for(text, codec);
    asked.document_ids = {"tower"};
    asked.max_tokens = 1;
    CHECK(bank.engine->ask(asked).codec == codec);
    return recorded.decoder->take();
  };
  CHECK(ids_of("kv") == Reads{question});
  CHECK(ids_of("text") == Reads{memory->tokens, question});

  const std::string joined = bank.configuration.prompt.prefix + tokenizer.decode(memory->tokens) +
                             tokenizer.decode(question);
  std::vector<TokenId> whole = bank.prefix();
  for (const std::vector<TokenId>& part : {memory->tokens, question}) {
    whole.insert(whole.end(), part.begin(), part.end());
  }
  CHECK("<|endoftext|>" + tokenizer.decode(whole) == joined);  // special tokens are not decoded
  CHECK(tokenizer.encode(joined, backbone::SpecialTokens::recognise) != whole);
}

TEST_CASE("kv: the prompt begins once, whatever a document and a question spell", "[service][kv]") {
  const TemporaryDirectory directory;
  const Bank bank = make_tiny_bank(directory);
  const std::string beginnings = "<|endoftext|><|im_start|> <|endoftext|>";
  publish(*bank.engine, {make_document("spelt", 1, "", beginnings + "The mill.")});
  constexpr TokenId kSpecial = 3;  // the tiny vocabulary's first three
  const auto is_special = [](TokenId id) { return id < kSpecial; };
  const std::vector<TokenId> prefix = bank.prefix();
  REQUIRE(is_special(prefix.at(0)));
  CHECK(std::none_of(prefix.begin() + 1, prefix.end(), is_special));
  const auto question = service::question_tokens(bank.configuration.prompt,
                                                 *bank.models.decoder_tokenizer, beginnings);
  CHECK(question.size() > beginnings.size() / 2);
  CHECK(std::none_of(question.begin(), question.end(), is_special));
  const auto memory = bank.stored("spelt");
  CHECK(std::none_of(memory->tokens.begin(), memory->tokens.end(), is_special));
}

TEST_CASE("kv: a document moved from position 0 to 500 is read the same", "[service][kv]") {
  const auto models = default_models();
  if (!models) {
    return;
  }
  const c10::InferenceMode inference;
  const Decoder& decoder = *models->decoder;
  const std::vector<TokenId> document = models->decoder_tokenizer->encode(kTower.text);
  const std::vector<TokenId> question =
      models->decoder_tokenizer->encode("\nQuestion: Who raised the tower?\nAnswer:");
  const auto length = static_cast<int64_t>(document.size());

  // Captured at position 0, alone.
  backbone::KvCache reading = decoder.start({}, length);
  const backbone::ReadRequest request{.cache = &reading, .tokens = document, .capture = true};
  const backbone::ReadResult captured = decoder.read({&request, 1}).at(0);

  const auto placed_at = [&](int64_t offset) {
    KvSegment segment;
    segment.keys = captured.keys;
    segment.values = captured.values;
    segment.positions = at::arange(offset, offset + length, at::kLong);
    KvPrefix prefix;
    prefix.segments = {segment};
    prefix.next_position = offset + length;
    return prefix;
  };
  std::vector<TokenId> forced;
  const auto at_start = read_after(decoder, placed_at(0), question, forced);
  const auto moved = read_after(decoder, placed_at(500), question, forced);
  CHECK(largest_difference(at_start, moved) <= 1e-4);

  // The same tokens really read at position 500.
  KvPrefix empty;
  empty.next_position = 500;
  backbone::KvCache cache =
      decoder.start(empty, length + static_cast<int64_t>(question.size()) + kDecoded + 1);
  const backbone::ReadRequest again{.cache = &cache, .tokens = document};
  decoder.read({&again, 1});
  const auto read_there = read_on(decoder, cache, question, forced);
  CHECK(largest_difference(moved, read_there) <= 1e-4);
}

TEST_CASE("kv: documents side by side are the same in any order", "[service][kv][property]") {
  const TemporaryDirectory directory;
  Bank bank = make_tiny_bank(directory);
  const c10::InferenceMode inference;
  const Document third = make_document("mill", 1, "Mill", "The mill burned down twice.");
  publish(*bank.engine, {kTower, kBridge, third});
  std::vector<std::string> order = {"bridge", "mill", "tower"};
  std::optional<std::vector<at::Tensor>> first;
  std::vector<TokenId> forced;
  do {
    std::vector<std::shared_ptr<const Memory>> memories;
    for (const std::string& id : order) {
      memories.push_back(bank.stored(id));
    }
    const auto logits =
        read_after(*bank.models.decoder, bank.to_prefix("kv", memories), bank.question(), forced);
    if (first) {
      CHECK(largest_difference(*first, logits) <= 1e-5);
    } else {
      first = logits;
    }
    const auto text =
        read_after(*bank.models.decoder, bank.to_prefix("text", memories), bank.question(), forced);
    CHECK(largest_difference(logits, text) <= kExact);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("kv: a prompt past the decoder's positions is refused before any computing",
          "[service][kv]") {
  const TemporaryDirectory directory;
  RecordedBank recorded(directory);
  const Bank& bank = recorded.bank;
  const Document small = make_document("mill", 1, "", "Mill.");
  publish(*bank.engine, {kTower, small});
  const std::vector<std::shared_ptr<const Memory>> memories = {bank.stored("tower")};
  recorded.decoder->take();
  const std::string codec = GENERATE("kv", "text");
  const std::string compose = GENERATE("choose", "together", "sequence", "blend", "reuse");
  CAPTURE(codec, compose);
  CHECK_THROWS_AS(bank.engine->codec(codec).to_prefix(memories, 100000), InvalidArgument);

  // Fits the positions alone and after the small document, but not after the tower's.
  service::Question question = ask_for(std::string(200, 'x'), codec);
  question.document_ids = {"tower"};
  CHECK_THROWS_AS(bank.engine->ask(question), InvalidArgument);
  question.document_ids = {"mill", "tower"};
  question.compose = compose;
  CHECK_THROWS_AS(bank.engine->ask(question), InvalidArgument);
  CHECK(recorded.decoder->take().empty());

  question.document_ids = {"mill"};
  CHECK_NOTHROW(bank.engine->ask(question));
  CHECK_FALSE(recorded.decoder->take().empty());
}

}  // namespace
}  // namespace alluvium::tests
