#include "selection_sketch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <torch/csrc/autograd/autograd.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/core/clock.h"
#include "alluvium/learners/lora.h"
#include "alluvium/selectors/decoder_gradient_scorer.h"
#include "alluvium/selectors/row_matrix.h"
#include "encoded_sample.h"
#include "text_tasks.h"

namespace alluvium::experiments {
namespace {

constexpr int64_t kSamples = 16;
constexpr int64_t kPassageBytes = 600;

// Longer than any of the samples.
constexpr int64_t kTokens = 2048;

template <class Work>
double best_ms(int64_t repeats, const Work& work) {
  double best = std::numeric_limits<double>::infinity();
  for (int64_t repeat = 0; repeat < repeats; ++repeat) {
    const Stopwatch watch;
    work();
    best = std::min(best, watch.elapsed_ms());
  }
  return best;
}

// The whole gradient of the traced block for each sample, of length 1.
std::vector<at::Tensor> exact_gradients(const backbone::Decoder& decoder,
                                        const backbone::AdapterState& adapter,
                                        std::span<const EncodedSample* const> sequences) {
  std::vector<at::Tensor> gradients;
  for (const EncodedSample* sequence : sequences) {
    const PackedSamples packed(decoder, {&sequence, 1});
    backbone::ScoredTrace trace;
    trace.layer = decoder.geometry().layers / 2;
    const at::Tensor loss =
        decoder.negative_log_likelihood(packed.sequences, adapter, {}, &trace).mean();
    std::vector<at::Tensor> outputs;
    for (const auto& linear : trace.linears) {
      outputs.push_back(linear.output);
    }
    const auto deltas = torch::autograd::grad({loss}, outputs);
    std::vector<at::Tensor> parts;
    for (std::size_t m = 0; m < deltas.size(); ++m) {
      parts.push_back(
          at::matmul(deltas[m].to(at::kFloat).t(), trace.linears[m].input.to(at::kFloat))
              .flatten());
    }
    at::Tensor whole = at::cat(parts);
    gradients.push_back(whole / whole.norm());
  }
  return gradients;
}

}  // namespace

std::vector<Row> measure_sketches(const std::string& data, const std::string& path, int64_t threads,
                                  int64_t repeats) {
  backbone::DeviceOptions device;
  device.threads = threads;
  const auto checkpoint = backbone::open_checkpoint(path);
  const std::shared_ptr<const backbone::Decoder> decoder =
      backbone::load_decoder(*checkpoint, backbone::choose_device(device));
  const std::shared_ptr<const backbone::Tokenizer> tokenizer =
      backbone::load_tokenizer(*checkpoint, path);
  std::vector<selectors::Sample> samples =
      load_text_tasks(data, kSamples, 1, kPassageBytes, 0).front().training;
  std::vector<EncodedSample> encoded;
  int64_t tokens = 0;
  for (const selectors::Sample& sample : samples) {
    encoded.push_back(encode_sample(*tokenizer, sample, kTokens));
    tokens += static_cast<int64_t>(encoded.back().tokens.size());
  }
  std::vector<const EncodedSample*> sequences;
  for (const EncodedSample& sample : encoded) {
    sequences.push_back(&sample);
  }
  learners::LoraOptions lora_options;
  lora_options.rank = 8;
  learners::Lora lora(*decoder, lora_options);
  const double pass_ms = best_ms(repeats, [&] {
    const PackedSamples packed(*decoder, sequences);
    lora.zero_gradient();
    decoder->negative_log_likelihood(packed.sequences, lora.state()).mean().backward();
  });
  backbone::AdapterState bare;
  bare.model = decoder->model();
  bare.layers.resize(static_cast<std::size_t>(decoder->geometry().layers));
  const std::vector<at::Tensor> exact = exact_gradients(*decoder, bare, sequences);
  // The scorer reads samples with a document a second time, without it; that is grounding, not the sketch.
  for (selectors::Sample& sample : samples) {
    sample.prompt = sample.document + "\n\n" + sample.prompt;
    sample.document.clear();
  }
  std::vector<Row> rows;
  for (const int64_t side : {8, 11, 16, 32}) {
    selectors::GradientScorerOptions options;
    options.sketch_side = side;
    options.batch_tokens = tokens;
    const auto scorer = selectors::make_decoder_gradient_scorer(decoder, tokenizer, options);
    std::vector<selectors::ScoredSample> scored;
    const double sketch_ms = best_ms(repeats, [&] { scored = scorer->score(samples); });
    double error = 0;
    double pairs = 0;
    for (std::size_t i = 0; i < scored.size(); ++i) {
      selectors::normalise_(scored[i].sketch);
      for (std::size_t j = 0; j < i; ++j) {
        const auto sketched =
            static_cast<double>(selectors::dot(scored[i].sketch, scored[j].sketch));
        error += std::abs(sketched - (exact[i] * exact[j]).sum().item<double>());
        ++pairs;
      }
    }
    rows.push_back({{"sketch_side", side},
                    {"numbers", scorer->dimension()},
                    {"samples", kSamples},
                    {"tokens", tokens},
                    {"forward_backward_ms", pass_ms},
                    {"sketch_ms", sketch_ms},
                    {"share", sketch_ms / pass_ms},
                    {"cosine_error", error / pairs}});
  }
  return rows;
}

}  // namespace alluvium::experiments
