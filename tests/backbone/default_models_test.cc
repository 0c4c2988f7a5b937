// The default models against the reference implementation: tests/oracle/decoder and tests/oracle/encoder hold the values and the
// scripts that made them.
#include <fstream>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/encoder.h"
#include "alluvium/backbone/generation.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"
#include "support/paths.h"

namespace alluvium::backbone {
namespace {

nlohmann::json read_oracle(const std::string& name) {
  std::ifstream file(tests::oracle_directory() + "/" + name);
  return nlohmann::json::parse(file);
}

struct DefaultDecoder {
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Decoder> decoder;
};

std::optional<DefaultDecoder> load_default(const DevicePolicy& policy) {
  const auto path = tests::default_decoder_path();
  if (!path) {
    WARN("skipped: the default decoder is not installed");
    return std::nullopt;
  }
  DefaultDecoder model;
  model.checkpoint = open_checkpoint(*path);
  model.tokenizer = load_tokenizer(*model.checkpoint, *path);
  model.decoder = load_decoder(*model.checkpoint, policy);
  return model;
}

// Greedy tokens as far as they follow the oracle; stops without complaint at a tie of the oracle.
void check_greedy(const Decoder& decoder, const nlohmann::json& row) {
  const auto ids = row["ids"].get<std::vector<TokenId>>();
  KvCache cache = decoder.start({}, static_cast<int64_t>(ids.size()) + 64);
  ReadRequest request{&cache, ids, Logits::last, false, false};
  TokenId token = 0;
  for (std::size_t step = 0; step < row["greedy"].size(); ++step) {
    const at::Tensor logits = decoder.read({&request, 1}).front().logits;
    token = static_cast<TokenId>(logits.argmax().item<int64_t>());
    if (row["gaps"][step].get<double>() < 1e-3 && token != row["greedy"][step].get<TokenId>()) {
      return;
    }
    CAPTURE(step);
    REQUIRE(token == row["greedy"][step].get<TokenId>());
    request.tokens = {&token, 1};
  }
}

// Rank 4 on every projection, random.
AdapterState random_adapter(const Decoder& decoder) {
  Random random(4);
  AdapterState state;
  state.model = decoder.model();
  state.scale = 2;
  state.layers.resize(decoder.geometry().layers);
  const auto fill = [&](int64_t rows, int64_t columns) {
    at::Tensor tensor = at::empty({rows, columns}, at::kFloat);
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      tensor.data_ptr<float>()[i] = static_cast<float>(0.05 * random.normal());
    }
    return tensor;
  };
  for (LayerFactors& layer : state.layers) {
    for (const Projection p : kAllProjections) {
      const ProjectionShape shape = shape_of(decoder.geometry(), p);
      layer[p] = {fill(4, shape.in), fill(shape.out, 4)};
    }
  }
  return state;
}

// What is read at its places, each slot of the decoder keeping another two thirds of the rows, with a bias on some of them.
KvPrefix ragged_prefix(const Decoder& decoder, const std::vector<TokenId>& tokens) {
  KvCache cache = decoder.start({}, static_cast<int64_t>(tokens.size()));
  const ReadRequest request{.cache = &cache, .tokens = tokens, .capture = true};
  const ReadResult read = decoder.read({&request, 1}).front();
  const at::Tensor keys = read.keys.flatten(0, 1);
  const at::Tensor values = read.values.flatten(0, 1);
  KvSegment segment;
  std::vector<at::Tensor> kept_keys;
  std::vector<at::Tensor> kept_values;
  std::vector<int64_t> positions;
  std::vector<float> bias;
  for (int64_t slot = 0; slot < keys.size(0); ++slot) {
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < keys.size(1); ++i) {
      if (i == 0 || (i + slot) % 3 != 0) {
        rows.push_back(i);
        positions.push_back(i);
        bias.push_back(i % 4 == 1 ? 0.5F : 0.0F);
      }
    }
    const at::Tensor index = at::tensor(rows, at::kLong);
    kept_keys.push_back(keys[slot].index_select(0, index));
    kept_values.push_back(values[slot].index_select(0, index));
    segment.row_counts.push_back(static_cast<int64_t>(rows.size()));
  }
  segment.keys = at::cat(kept_keys);
  segment.values = at::cat(kept_values);
  segment.positions = at::tensor(positions, at::kLong);
  segment.log_bias = at::tensor(bias);
  segment.context = true;
  return {.segments = {segment},
          .next_position = static_cast<int64_t>(tokens.size()),
          .temperature = 0.9,
          .lse_scale = 1.1};
}

}  // namespace

TEST_CASE("default decoder: logits and greedy tokens equal the reference in float32",
          "[backbone][decoder][oracle]") {
  DevicePolicy policy = reference_policy();
  policy.block_decode = GENERATE(true, false);
  CAPTURE(policy.block_decode);
  const auto model = load_default(policy);
  if (!model) {
    return;
  }
  const nlohmann::json oracle = read_oracle("decoder/decoder_oracle.json");
  // Dense one-row steps in float32 take four times as long: three prompts show that they agree.
  std::size_t left = policy.block_decode ? 20 : 3;
  for (const auto& row : oracle["prompts"]) {
    if (left-- == 0) {
      break;
    }
    CAPTURE(row["prompt"].get<std::string>());
    const auto ids = model->tokenizer->encode(row["prompt"].get<std::string>());
    REQUIRE(ids == row["ids"].get<std::vector<TokenId>>());
    if (row.contains("top_ids")) {
      KvCache cache = model->decoder->start({}, static_cast<int64_t>(ids.size()));
      const ReadRequest request{&cache, ids, Logits::last, false, false};
      const at::Tensor logits = model->decoder->read({&request, 1}).front().logits;
      for (std::size_t i = 0; i < row["top_ids"].size(); ++i) {
        CHECK_THAT(logits[row["top_ids"][i].get<int64_t>()].item<double>(),
                   Catch::Matchers::WithinAbs(row["top_logits"][i].get<double>(), 1e-3));
      }
    }
    check_greedy(*model->decoder, row);
  }
}

TEST_CASE("default decoder: an adapter weighs the same on one row as on many",
          "[backbone][decoder][adapter]") {
  DevicePolicy policy = reference_policy();
  policy.block_decode = true;
  policy.dtype = GENERATE(at::kFloat, at::kBFloat16);
  CAPTURE(policy.dtype);
  const auto model = load_default(policy);
  if (!model) {
    return;
  }
  const Decoder& decoder = *model->decoder;
  const auto adapter = decoder.prepare(random_adapter(decoder));
  const std::vector<TokenId> ids = model->tokenizer->encode("The harbour of Oslo has nine");
  const TokenId next = model->tokenizer->encode(" piers").front();
  // Asking for hidden states takes the single row through the dense matrices.
  const auto logits_of = [&](const Adapter* used, bool dense) {
    KvCache cache = decoder.start({}, static_cast<int64_t>(ids.size()) + 1);
    const ReadRequest first{.cache = &cache, .tokens = ids, .adapter = used};
    decoder.read({&first, 1});
    const ReadRequest one{.cache = &cache,
                          .tokens = {&next, 1},
                          .logits = Logits::last,
                          .hidden = dense,
                          .adapter = used};
    return decoder.read({&one, 1}).front().logits;
  };
  const at::Tensor step = logits_of(adapter.get(), false);
  const double apart = (step - logits_of(adapter.get(), true)).abs().max().item<double>();
  const double effect = (step - logits_of(nullptr, false)).abs().max().item<double>();
  CHECK(apart < (policy.dtype == at::kFloat ? 1e-2 : 0.5));
  CHECK(effect > 4 * apart);
}

TEST_CASE("default decoder: a few rows at once give what they give one by one",
          "[backbone][decoder][adapter]") {
  DevicePolicy policy = reference_policy();
  policy.block_decode = true;
  policy.dtype = at::kBFloat16;
  const auto model = load_default(policy);
  if (!model) {
    return;
  }
  const Decoder& decoder = *model->decoder;
  if (decoder.cheap_rows() == 1) {
    WARN("skipped: this processor takes one row at a time");
    return;
  }
  const bool ragged = GENERATE(false, true);
  const bool adapted = GENERATE(false, true);
  CAPTURE(ragged, adapted);
  const auto adapter = decoder.prepare(random_adapter(decoder));
  const auto read = model->tokenizer->encode(
      "The harbour of Oslo has nine piers, and each of them has a crane and a warehouse.");
  const auto next = model->tokenizer->encode(" Which of the piers");
  REQUIRE(static_cast<int64_t>(next.size()) <= decoder.cheap_rows());
  const auto rows = static_cast<int64_t>(next.size());
  enum class Way { at_once, one_by_one, dense };
  const auto logits = [&](Way way, const Adapter* used) {
    KvPrefix prefix;
    if (ragged) {
      prefix = ragged_prefix(decoder, read);
    }
    KvCache cache = decoder.start(prefix, static_cast<int64_t>(read.size()) + rows);
    if (!ragged) {
      const ReadRequest first{.cache = &cache, .tokens = read};
      decoder.read({&first, 1});
    }
    const int64_t slots = cache.slots();
    std::vector<at::Tensor> parts;
    for (int64_t r = 0; r < (way == Way::one_by_one ? rows : 1); ++r) {
      const ReadRequest request{
          .cache = &cache,
          .tokens = way == Way::one_by_one ? std::span(next).subspan(r, 1) : std::span(next),
          .logits = Logits::all,
          .hidden = way == Way::dense,
          .adapter = used};
      parts.push_back(decoder.read({&request, 1}).front().logits);
    }
    CHECK(cache.slots() == slots + rows);
    return at::cat(parts);
  };
  const Adapter* used = adapted ? adapter.get() : nullptr;
  const at::Tensor together = logits(Way::at_once, used);
  REQUIRE(together.sizes() == at::IntArrayRef({rows, decoder.geometry().vocabulary}));
  const auto apart = [&](const at::Tensor& other) {
    return (together - other).abs().max().item<double>();
  };
  const at::Tensor single = logits(Way::one_by_one, used);
  CHECK(apart(single) < 0.1);
  CHECK(apart(logits(Way::dense, used)) < 0.5);
  CHECK(apart(logits(Way::at_once, adapted ? nullptr : adapter.get())) > 1);
}

TEST_CASE("default encoder: embeddings equal the reference in float32",
          "[backbone][encoder][oracle]") {
  const auto path = tests::default_encoder_path();
  if (!path) {
    WARN("skipped: the default encoder is not installed");
    return;
  }
  const auto checkpoint = open_checkpoint(*path);
  const auto encoder =
      load_encoder(*checkpoint, load_tokenizer(*checkpoint, *path), reference_policy());
  REQUIRE(encoder->dimension() == 384);
  const nlohmann::json oracle = read_oracle("encoder/encoder_oracle.json");
  std::vector<std::string> texts;
  for (const auto& row : oracle) {
    texts.push_back(row["text"].get<std::string>());
  }
  const at::Tensor vectors = encoder->embed(texts);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(texts[i]);
    const at::Tensor vector = vectors[static_cast<int64_t>(i)];
    for (int64_t c = 0; c < 16; ++c) {
      CHECK_THAT(vector[c].item<double>(),
                 Catch::Matchers::WithinAbs(oracle[i]["first"][c].get<double>(), 1e-4));
    }
    CHECK_THAT(vector.sum().item<double>(),
               Catch::Matchers::WithinAbs(oracle[i]["sum"].get<double>(), 1e-3));
    CHECK_THAT(vector.norm().item<double>(), Catch::Matchers::WithinAbs(1.0, 1e-5));
  }
  CHECK(encoder->embed({}).size(0) == 0);
}

TEST_CASE("default decoder: generation stops, streams and cancels", "[backbone][generation]") {
  const auto model = load_default(choose_device({}));
  if (!model) {
    return;
  }
  const auto prompt = model->tokenizer->encode("The capital of Norway is");
  GenerationOptions options;
  options.max_tokens = 24;
  const auto run = [&](const TextCallback& on_text = nullptr) {
    KvCache cache = model->decoder->start({}, 64);
    return generate(*model->decoder, *model->tokenizer, cache, prompt, options, on_text);
  };
  std::string streamed;
  const Generation whole = run([&](std::string_view piece) {
    streamed += piece;
    return true;
  });
  CHECK(whole.tokens.size() == 24);
  CHECK(whole.finish == FinishReason::length);
  CHECK(whole.text == streamed);
  CHECK(whole.log_probability < 0);
  CHECK(whole.text.find("Oslo") != std::string::npos);

  SECTION("a stop string ends the text before itself") {
    options.stop = {"Oslo"};
    streamed.clear();
    const Generation stopped = run([&](std::string_view piece) {
      streamed += piece;
      return true;
    });
    CHECK(stopped.finish == FinishReason::stop);
    CHECK(stopped.text == whole.text.substr(0, whole.text.find("Oslo")));
    CHECK(streamed == stopped.text);
  }
  SECTION("a callback that returns false cancels") {
    CHECK(run([](std::string_view) { return false; }).finish == FinishReason::cancelled);
  }
  SECTION("the same seed samples the same text, another seed another") {
    options.temperature = 1.5;
    options.top_p = 0.95;
    options.seed = 1;
    const std::string one = run().text;
    CHECK(run().text == one);
    options.seed = 2;
    CHECK(run().text != one);
  }
  SECTION("no tokens asked for gives no text") {
    options.max_tokens = 0;
    CHECK(run().text.empty());
  }
  SECTION("options outside their ranges are refused") {
    options.top_p = 0;
    CHECK_THROWS_AS(run(), InvalidArgument);
    options.top_p = 1;
    options.temperature = -1;
    CHECK_THROWS_AS(run(), InvalidArgument);
  }
}

TEST_CASE("default decoder: the scores of generated tokens add up to the answer's log-probability",
          "[backbone][generation]") {
  const auto model = load_default(choose_device({}));
  if (!model) {
    return;
  }
  const auto prompt = model->tokenizer->encode("The chemical symbol of gold is");
  GenerationOptions options;
  options.max_tokens = 12;
  KvCache cache = model->decoder->start({}, 40);
  const Generation generation =
      generate(*model->decoder, *model->tokenizer, cache, prompt, options);
  KvCache fresh = model->decoder->start({}, 40);
  double sum = 0;
  for (const double score : score_tokens(*model->decoder, fresh, prompt, generation.tokens)) {
    sum += score;
  }
  // One reads row by row through the blocks, the other all rows in the compute dtype.
  CHECK_THAT(sum, Catch::Matchers::WithinAbs(generation.log_probability, 0.5));
}

}  // namespace alluvium::backbone
