#include "alluvium/selectors/decoder_gradient_scorer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/core/error.h"
#include "alluvium/selectors/memory_recall.h"
#include "alluvium/selectors/sign_projection.h"
#include "alluvium/selectors/token_scores.h"
#include "two_sided_sketch.h"

namespace alluvium::selectors {
namespace {

using backbone::TokenId;

constexpr std::size_t kLinears = 4;  // qkv, attention output, gate and up, down

/// A sample as tokens. `anchor` stands before everything, so that the first token of an answer without a prompt is predicted from something.
struct Encoded {
  std::vector<TokenId> tokens;
  int64_t scored_from = 1;
  std::vector<TokenId> without_document;  // empty: there is none
  int64_t without_scored_from = 1;
  Expert grounding = Expert::dg_ctx;
  std::size_t prompt_tokens = 0;
  std::string excluded;

  int64_t rows() const { return static_cast<int64_t>(tokens.size()) - 1; }
};

class DecoderGradientScorer final : public GradientScorer {
 public:
  DecoderGradientScorer(std::shared_ptr<const backbone::Decoder> decoder,
                        std::shared_ptr<const backbone::Tokenizer> tokenizer,
                        const GradientScorerOptions& options, const backbone::AdapterState* adapter)
      : decoder_(std::move(decoder)), tokenizer_(std::move(tokenizer)), options_(options) {
    const backbone::DecoderGeometry& geometry = decoder_->geometry();
    ALLUVIUM_CHECK(options.layer >= -1 && options.layer < geometry.layers,
                   "layer must lie in [0, {}) or be -1, got {}", geometry.layers, options.layer);
    ALLUVIUM_CHECK(options.sketch_side >= 1, "sketch_side must be at least 1, got {}",
                   options.sketch_side);
    ALLUVIUM_CHECK(options.max_tokens >= 8, "max_tokens must be at least 8, got {}",
                   options.max_tokens);
    ALLUVIUM_CHECK(options.batch_tokens >= 1, "batch_tokens must be at least 1, got {}",
                   options.batch_tokens);
    layer_ = options.layer < 0 ? geometry.layers / 2 : options.layer;
    window_ = std::min(options.max_tokens, geometry.max_positions);
    adapter_.model = decoder_->model();
    adapter_.layers.resize(static_cast<std::size_t>(geometry.layers));
    if (adapter != nullptr) {
      adapter_.scale = adapter->scale;
      for (std::size_t l = 0; l < adapter_.layers.size(); ++l) {
        for (std::size_t p = 0; p < backbone::kProjections; ++p) {
          const backbone::LowRankFactors& from = adapter->layers.at(l).of[p];
          if (from.defined()) {
            adapter_.layers[l].of[p] = {from.a.detach().clone(), from.b.detach().clone()};
          }
        }
      }
    }
    for (const char* piece : {"<|endoftext|>", "<|end_of_text|>", "</s>"}) {
      if (const auto id = tokenizer_->find_token(piece); id && anchor_ < 0) {
        anchor_ = *id;
      }
    }
    anchor_ = std::max<TokenId>(anchor_, 0);
  }

  std::string label() const override {
    return fmt::format("layer {} of {}, {} x {}^2, seed {}, at most {} tokens{}", layer_,
                       to_hex(decoder_->model()).substr(0, 12), kLinears, options_.sketch_side,
                       options_.seed, window_,
                       options_.memory ? ", " + options_.memory->label() : "");
  }

  int64_t dimension() const override {
    return static_cast<int64_t>(kLinears) * options_.sketch_side * options_.sketch_side;
  }

  std::vector<ScoredSample> score(std::span<const Sample> samples) override {
    std::vector<ScoredSample> scored(samples.size());
    std::vector<std::pair<std::size_t, Encoded>> batch;
    int64_t rows = 0;
    const auto flush = [&] {
      if (!batch.empty()) {
        score_batch(batch, scored);
        score_grounding(batch, scored);
        for (const auto& [place, encoded] : batch) {
          score_memory(samples[place], encoded, scored[place]);
        }
      }
      batch.clear();
      rows = 0;
    };
    for (std::size_t i = 0; i < samples.size(); ++i) {
      Encoded encoded = encode(samples[i]);
      if (!encoded.excluded.empty()) {
        scored[i].excluded = std::move(encoded.excluded);
        continue;
      }
      if (rows + encoded.rows() > options_.batch_tokens) {
        flush();
      }
      rows += encoded.rows();
      batch.emplace_back(i, std::move(encoded));
    }
    flush();
    return scored;
  }

 private:
  Encoded encode(const Sample& sample) const {
    Encoded encoded;
    std::vector<TokenId> document;
    std::vector<TokenId> prompt;
    std::vector<TokenId> answer;
    if (sample.is_plain_text()) {
      std::vector<TokenId> text = tokenizer_->encode(sample.text);
      text.resize(std::min<std::size_t>(text.size(), static_cast<std::size_t>(window_ - 1)));
      if (text.size() < 4) {
        encoded.excluded =
            fmt::format("a text of {} tokens has no halves; 4 are needed", text.size());
        return encoded;
      }
      const auto half = text.begin() + halfway(text);
      document.assign(text.begin(), half);
      answer.assign(half, text.end());
      encoded.grounding = Expert::dg_self;
    } else {
      document = sample.document.empty() ? document : tokenizer_->encode(sample.document + "\n\n");
      prompt = tokenizer_->encode(sample.prompt);
      answer = tokenizer_->encode(sample.answer);
    }
    if (answer.empty()) {
      encoded.excluded = "has no answer tokens";
      return encoded;
    }
    encoded.prompt_tokens = prompt.size();
    const auto fixed = static_cast<int64_t>(1 + prompt.size() + answer.size());
    if (fixed > window_) {
      encoded.excluded =
          fmt::format("prompt and answer take {} tokens, the window has {}", fixed, window_);
      return encoded;
    }
    const auto join = [&](const std::vector<TokenId>& before) {
      std::vector<TokenId> tokens = {anchor_};
      for (const auto* part : {&before, &std::as_const(prompt), &std::as_const(answer)}) {
        tokens.insert(tokens.end(), part->begin(), part->end());
      }
      return tokens;
    };
    const auto answer_tokens = static_cast<int64_t>(answer.size());
    if (!document.empty()) {
      encoded.without_document = join({});
      encoded.without_scored_from = fixed - answer_tokens;
      const auto room = static_cast<std::ptrdiff_t>(window_ - fixed);
      if (std::ssize(document) > room) {
        document.erase(document.begin(), document.end() - room);
      }
    }
    encoded.tokens = join(document);
    encoded.scored_from = static_cast<int64_t>(encoded.tokens.size()) - answer_tokens;
    return encoded;
  }

  // The middle, or the sentence end nearest to it within a tenth of the text.
  std::ptrdiff_t halfway(const std::vector<TokenId>& text) const {
    const std::ptrdiff_t middle = std::ssize(text) / 2;
    for (std::ptrdiff_t away = 0; away <= std::ssize(text) / 10; ++away) {
      for (const std::ptrdiff_t at : {middle - away, middle + away}) {
        if (at < 1 || at >= std::ssize(text)) {
          continue;
        }
        const std::string before = tokenizer_->decode({&text[static_cast<std::size_t>(at - 1)], 1});
        const std::size_t end = before.find_last_not_of(" \n");
        if (end != std::string::npos &&
            std::string_view(".!?").find(before[end]) != std::string_view::npos) {
          return at;
        }
      }
    }
    return middle;
  }

  void score_batch(const std::vector<std::pair<std::size_t, Encoded>>& batch,
                   std::vector<ScoredSample>& scored) {
    std::vector<backbone::KvCache> contexts;
    std::vector<backbone::ScoredSequence> sequences = sequences_of(batch, contexts, true);
    std::vector<int64_t> targets;
    for (const auto& [i, encoded] : batch) {
      targets.insert(targets.end(), encoded.tokens.begin() + encoded.scored_from,
                     encoded.tokens.end());
    }
    const at::AutoGradMode records(true);
    backbone::ScoredTrace trace;
    trace.layer = layer_;
    const at::Tensor nll = decoder_->negative_log_likelihood(sequences, adapter_, {}, &trace);
    // The sum of the samples' own means: each gets the gradient it would have alone.
    at::Tensor loss = at::zeros({}, nll.options());
    for (std::size_t b = 0; b < batch.size(); ++b) {
      loss = loss +
             nll.narrow(0, trace.first_score[b], trace.first_score[b + 1] - trace.first_score[b])
                 .mean();
    }
    std::vector<at::Tensor> outputs;
    for (const auto& linear : trace.linears) {
      outputs.push_back(linear.output);
    }
    const std::vector<at::Tensor> deltas = torch::autograd::grad({loss}, outputs);
    const at::NoGradGuard no_gradient;
    const TokenScores tokens =
        score_tokens(trace.logits, at::tensor(targets, at::kLong).to(trace.logits.device()));
    const std::vector<at::Tensor> sketches = sketch(trace, deltas);
    for (std::size_t b = 0; b < batch.size(); ++b) {
      ScoredSample& sample = scored[batch[b].first];
      const int64_t begin = trace.first_score[b];
      const int64_t count = trace.first_score[b + 1] - begin;
      const auto mean = [&](const at::Tensor& of) {
        return of.narrow(0, begin, count).mean().item<double>();
      };
      sample.answer_tokens = count;
      sample.score(Expert::nll) = mean(tokens.nll);
      sample.score(Expert::el2n) = mean(tokens.el2n);
      sample.score(Expert::entropy) = mean(tokens.entropy);
      const at::Tensor numbers = sketches[b].contiguous();
      const auto* first = numbers.const_data_ptr<float>();
      sample.sketch.assign(first, first + numbers.numel());
      double squares = 0;
      for (const float value : sample.sketch) {
        squares += static_cast<double>(value) * static_cast<double>(value);
      }
      sample.score(Expert::grand) = std::sqrt(squares);
      if (!std::isfinite(squares) || !std::isfinite(sample.score(Expert::nll))) {
        sample = {};
        sample.excluded = "its loss or gradient is not finite";
      }
    }
  }

  // One row of numbers a sample, on the CPU.
  std::vector<at::Tensor> sketch(const backbone::ScoredTrace& trace,
                                 const std::vector<at::Tensor>& deltas) {
    const int64_t side = options_.sketch_side;
    const std::size_t samples = trace.first_row.size() - 1;
    std::vector<at::Tensor> rows;
    for (std::size_t b = 0; b < samples; ++b) {
      rows.push_back(at::zeros({static_cast<int64_t>(kLinears), side, side},
                               at::TensorOptions(at::kFloat).device(deltas[0].device())));
    }
    for (std::size_t m = 0; m < kLinears; ++m) {
      const at::Tensor& input = trace.linears[m].input;
      const Signs& signs = signs_of(m, deltas[m].size(1), input.size(1), deltas[m].device());
      const std::vector<at::Tensor> sketches = two_sided_sketches(
          deltas[m].to(at::kFloat), input.to(at::kFloat), signs.left, signs.right, trace.first_row);
      for (std::size_t b = 0; b < samples; ++b) {
        rows[b][static_cast<int64_t>(m)] = sketches[b] / static_cast<double>(side);
      }
    }
    for (at::Tensor& row : rows) {
      row = row.flatten().cpu();
    }
    return rows;
  }

  void score_grounding(const std::vector<std::pair<std::size_t, Encoded>>& all,
                       std::vector<ScoredSample>& scored) const {
    std::vector<std::pair<std::size_t, Encoded>> batch;
    for (const auto& [i, encoded] : all) {
      if (!encoded.without_document.empty() && scored[i].excluded.empty()) {
        batch.emplace_back(i, encoded);
      }
    }
    if (batch.empty()) {
      return;
    }
    const at::NoGradGuard no_gradient;
    std::vector<backbone::KvCache> contexts;
    const auto sequences = sequences_of(batch, contexts, false);
    const at::Tensor nll = decoder_->negative_log_likelihood(sequences, adapter_);
    int64_t begin = 0;
    for (const auto& [i, encoded] : batch) {
      const int64_t count = scored[i].answer_tokens;
      const auto bare = nll.narrow(0, begin, count).mean().item<double>();
      scored[i].score(encoded.grounding) = bare - scored[i].score(Expert::nll);
      begin += count;
    }
  }

  void score_memory(const Sample& sample, const Encoded& encoded, ScoredSample& scored) const {
    const auto prompt = static_cast<int64_t>(encoded.prompt_tokens);
    if (!options_.memory || prompt == 0 || !scored.excluded.empty()) {
      return;
    }
    const int64_t room = prompt + scored.answer_tokens;
    const auto contexts = options_.memory->recall(sample, room);
    if (!contexts) {
      return;
    }
    // Prompt and answer alone: a memory stands in the document's place.
    const std::span<const TokenId> tokens =
        std::span(encoded.tokens).last(static_cast<std::size_t>(room));
    const at::NoGradGuard no_gradient;
    const at::Tensor nll = decoder_->negative_log_likelihood(
        std::vector<backbone::ScoredSequence>{{&contexts->without, tokens, prompt},
                                              {&contexts->with, tokens, prompt}},
        adapter_);
    const auto mean = [&](int64_t which) {
      return nll.narrow(0, which * scored.answer_tokens, scored.answer_tokens)
          .mean()
          .item<double>();
    };
    scored.score(Expert::dg_mem) = mean(0) - mean(1);
  }

  // A context of its own each, so that no attention is computed between samples.
  std::vector<backbone::ScoredSequence> sequences_of(
      const std::vector<std::pair<std::size_t, Encoded>>& batch,
      std::vector<backbone::KvCache>& contexts, bool with_document) const {
    std::vector<backbone::ScoredSequence> sequences;
    contexts.reserve(batch.size());
    for (const auto& [i, encoded] : batch) {
      contexts.push_back(decoder_->start({}, 0));
      sequences.push_back({&contexts.back(),
                           with_document ? encoded.tokens : encoded.without_document,
                           with_document ? encoded.scored_from : encoded.without_scored_from});
    }
    return sequences;
  }

  struct Signs {
    at::Tensor left;   // [out, side]
    at::Tensor right;  // [in, side]
  };

  const Signs& signs_of(std::size_t m, int64_t out, int64_t in, at::Device device) {
    Signs& signs = signs_[m];
    if (!signs.left.defined()) {
      const auto make = [&](int64_t width, uint64_t place) {
        std::vector<float> values =
            sign_matrix(options_.sketch_side, width, options_.seed + 1'000'003 * (2 * m + place));
        return at::from_blob(values.data(), {options_.sketch_side, width}, at::kFloat)
            .t()
            .contiguous()
            .clone()
            .to(device);
      };
      signs.left = make(out, 0);
      signs.right = make(in, 1);
    }
    return signs;
  }

  std::shared_ptr<const backbone::Decoder> decoder_;
  std::shared_ptr<const backbone::Tokenizer> tokenizer_;
  const GradientScorerOptions options_;
  backbone::AdapterState adapter_;
  int64_t layer_ = 0;
  int64_t window_ = 0;
  TokenId anchor_ = -1;
  std::array<Signs, kLinears> signs_;
};

}  // namespace

std::unique_ptr<GradientScorer> make_decoder_gradient_scorer(
    std::shared_ptr<const backbone::Decoder> decoder,
    std::shared_ptr<const backbone::Tokenizer> tokenizer, const GradientScorerOptions& options,
    const backbone::AdapterState* adapter) {
  return std::make_unique<DecoderGradientScorer>(std::move(decoder), std::move(tokenizer), options,
                                                 adapter);
}

}  // namespace alluvium::selectors
