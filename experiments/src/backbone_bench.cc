// `alluvium bench backbone`: reading and decoding speed beside llama.cpp on the same weights and beside this machine's limits.
#include <algorithm>
#include <cstdio>
#include <string>
#include <variant>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/generation.h"
#include "alluvium/core/clock.h"
#include "alluvium/core/error.h"
#include "alluvium/experiments/bench.h"
#include "alluvium/service/configuration.h"
#include "alluvium/streams/source.h"
#include "machine_limits.h"
#include "peer_process.h"
#include "report.h"

namespace alluvium::experiments {
namespace {

struct BackboneOptions {
  std::string decoder;
  std::string dtype = "auto";
  std::string llama_cpp;  // script of the peer; empty = leave it out
  std::string nll_documents;
  int64_t nll_tokens = 20000;
  int64_t read_tokens = 512;
  int64_t context_tokens = 400;
  int64_t decode_tokens = 64;
  int64_t repeats = 5;
};

struct Speed {
  double read_tokens_per_s = 0;
  double decode_tokens_per_s = 0;
};

// The same ids the peer reads.
std::vector<backbone::TokenId> word_ids(int64_t count) {
  std::vector<backbone::TokenId> ids;
  for (int64_t i = 0; i < count; ++i) {
    ids.push_back(static_cast<backbone::TokenId>(1000 + i % 977));
  }
  return ids;
}

Speed measure(const backbone::Decoder& decoder, const BackboneOptions& options) {
  Speed best;
  for (int64_t repeat = 0; repeat < options.repeats; ++repeat) {
    const std::vector<backbone::TokenId> text = word_ids(options.read_tokens);
    backbone::KvCache reading = decoder.start({}, options.read_tokens);
    backbone::ReadRequest request{&reading, text, backbone::Logits::last, true, false};
    const Stopwatch read_watch;
    decoder.read({&request, 1}).front().logits.cpu();  // a GPU is waited for
    best.read_tokens_per_s =
        std::max(best.read_tokens_per_s,
                 static_cast<double>(options.read_tokens) / read_watch.elapsed_ms() * 1e3);

    const std::vector<backbone::TokenId> context = word_ids(options.context_tokens);
    backbone::KvCache cache = decoder.start({}, options.context_tokens + options.decode_tokens);
    backbone::ReadRequest step{&cache, context, backbone::Logits::last, false, false};
    at::Tensor logits = decoder.read({&step, 1}).front().logits;
    backbone::TokenId token = 0;
    const Stopwatch decode_watch;
    for (int64_t i = 0; i < options.decode_tokens; ++i) {
      token = static_cast<backbone::TokenId>(logits.argmax().item<int64_t>());
      step.tokens = {&token, 1};
      logits = decoder.read({&step, 1}).front().logits;
    }
    best.decode_tokens_per_s =
        std::max(best.decode_tokens_per_s,
                 static_cast<double>(options.decode_tokens) / decode_watch.elapsed_ms() * 1e3);
  }
  return best;
}

// What the machine allows: reading is bound by matrix products, decoding by the bytes of the stored weights.
Speed measure_floor(const backbone::DecoderGeometry& g, at::ScalarType dtype, double weight_bytes) {
  const double parameters =
      static_cast<double>(g.layers * (g.d_model * g.head_dim * (2 * g.heads + 2 * g.kv_heads) +
                                      3 * g.d_model * g.d_ff));
  return {matrix_product_flops(dtype) / (2 * parameters), memory_bandwidth() / weight_bytes};
}

Row measure_llama_cpp(const BackboneOptions& options, int64_t threads) {
  const auto word = [](int64_t number) { return std::to_string(number); };
  return Row::parse(
      run_peer("--llama-cpp", options.llama_cpp,
               {options.decoder, word(options.read_tokens), word(options.context_tokens),
                word(options.decode_tokens), word(threads), word(options.repeats)}));
}

// Mean negative log-likelihood a token, documents read from their start behind <|endoftext|>, in two ways of computing.
struct LossPair {
  int64_t tokens = 0;
  double packed = 0;  // all rows at once, in the decoder's compute dtype
  double steps = 0;   // row by row, as decoding does
};

LossPair measure_loss(const backbone::Decoder& decoder, const backbone::Tokenizer& tokenizer,
                      const BackboneOptions& options, bool with_steps) {
  LossPair loss;
  const auto source = streams::open_source(options.nll_documents);
  const std::vector<backbone::TokenId> start = {tokenizer.find_token("<|endoftext|>").value_or(0)};
  while (loss.tokens < options.nll_tokens) {
    const auto item = source->next();
    if (!item) {
      break;
    }
    const auto* envelope = std::get_if<streams::Envelope>(&*item);
    if (envelope == nullptr) {
      continue;
    }
    std::vector<backbone::TokenId> tokens = tokenizer.encode(envelope->document.text);
    const int64_t room = std::min<int64_t>(1024, options.nll_tokens - loss.tokens);
    tokens.resize(std::min<std::size_t>(tokens.size(), static_cast<std::size_t>(room)));
    backbone::KvCache cache = decoder.start({}, static_cast<int64_t>(tokens.size()) + 1);
    for (const double score : backbone::score_tokens(decoder, cache, start, tokens)) {
      loss.packed -= score;
    }
    if (with_steps) {
      cache.rewind(0, 0);
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        const std::span<const backbone::TokenId> before =
            i == 0 ? std::span(start) : std::span(tokens).subspan(i - 1, 1);
        loss.steps -=
            backbone::score_tokens(decoder, cache, before, std::span(tokens).subspan(i, 1)).front();
      }
    }
    loss.tokens += static_cast<int64_t>(tokens.size());
  }
  ALLUVIUM_CHECK(loss.tokens > 0, "--nll-documents: {} holds no text", options.nll_documents);
  loss.packed /= static_cast<double>(loss.tokens);
  loss.steps /= static_cast<double>(loss.tokens);
  return loss;
}

Row measure_losses(const backbone::Checkpoint& checkpoint, const backbone::Decoder& decoder,
                   const backbone::Tokenizer& tokenizer, const BackboneOptions& options) {
  const LossPair fast = measure_loss(decoder, tokenizer, options, decoder.policy().block_decode);
  const auto reference =
      backbone::load_decoder(checkpoint, backbone::reference_policy(decoder.policy().threads));
  const LossPair exact = measure_loss(*reference, tokenizer, options, false);
  Row row = {{"tokens", fast.tokens},
             {"nll_f32", exact.packed},
             {"nll_packed", fast.packed},
             {"packed_percent_of_f32", 100 * fast.packed / exact.packed}};
  if (decoder.policy().block_decode) {
    row["nll_steps"] = fast.steps;
    row["steps_percent_of_f32"] = 100 * fast.steps / exact.packed;
  }
  return row;
}

Row to_row(const std::string& name, const Speed& speed) {
  return {{"name", name},
          {"read_tokens_per_s", speed.read_tokens_per_s},
          {"decode_tokens_per_s", speed.decode_tokens_per_s}};
}

}  // namespace

int run_backbone_bench(const std::vector<std::string>& arguments) {
  BackboneOptions options;
  options.decoder =
      service::cache_directory() + "/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf";
  std::string json;
  CLI::App app(
      "Reading and decoding speed of the decoder, beside llama.cpp and this machine's limits.",
      "alluvium bench backbone");
  app.add_option("--decoder", options.decoder, "GGUF file");
  app.add_option("--dtype", options.dtype, "auto, f32 or bf16");
  app.add_option("--llama-cpp", options.llama_cpp,
                 "experiments/peers/llama_cpp_speed.py, to measure llama.cpp in the same run");
  app.add_option("--read-tokens", options.read_tokens)->check(CLI::Range(1, 4096));
  app.add_option("--context-tokens", options.context_tokens, "before decoding")
      ->check(CLI::Range(1, 4096));
  app.add_option("--decode-tokens", options.decode_tokens)->check(CLI::Range(1, 2048));
  app.add_option("--repeats", options.repeats, "the best counts")->check(CLI::Range(1, 100));
  app.add_option("--nll-documents", options.nll_documents,
                 "also compare the fast mode's loss on these documents with float32's");
  app.add_option("--nll-tokens", options.nll_tokens)->check(CLI::Range(1, 10000000));
  app.add_option("--json", json, "write the result to this file");
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  backbone::DeviceOptions device;
  device.dtype = options.dtype;
  const backbone::DevicePolicy policy = backbone::choose_device(device);
  const auto checkpoint = backbone::open_checkpoint(options.decoder);
  const auto tokenizer = backbone::load_tokenizer(*checkpoint, options.decoder);
  const auto decoder = backbone::load_decoder(*checkpoint, policy);
  double weight_bytes = 0;
  for (const backbone::StoredTensor& tensor : checkpoint->tensors()) {
    weight_bytes += static_cast<double>(tensor.bytes);
  }

  std::vector<Row> rows;
  rows.push_back(to_row("alluvium", measure(*decoder, options)));
  if (!options.llama_cpp.empty()) {
    const Row peer = measure_llama_cpp(options, policy.threads);
    rows.push_back(to_row("llama.cpp", {peer.at("read_tokens_per_s").get<double>(),
                                        peer.at("decode_tokens_per_s").get<double>()}));
  }
  if (policy.device.is_cpu()) {  // whose limits these are
    rows.push_back(to_row("floor", measure_floor(decoder->geometry(), policy.dtype, weight_bytes)));
  }
  std::fputs(to_markdown(rows).c_str(), stdout);

  Row report = describe_run("backbone", arguments);
  report["device"] = policy.reason;
  report["threads"] = policy.threads;
  report["dtype"] = policy.dtype == at::kBFloat16 ? "bf16" : "f32";
  report["rows"] = rows;
  if (!options.nll_documents.empty()) {
    report["loss"] = measure_losses(*checkpoint, *decoder, *tokenizer, options);
    std::printf("\n%s", to_markdown({report["loss"]}).c_str());
  }
  if (!json.empty()) {
    write_json(json, report);
  }
  return 0;
}

}  // namespace alluvium::experiments
