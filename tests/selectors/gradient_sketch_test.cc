// Token scores against worked numbers, and a decoder's sketches against its own gradients.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "alluvium/selectors/decoder_gradient_scorer.h"
#include "alluvium/selectors/memory_recall.h"
#include "alluvium/selectors/row_matrix.h"
#include "alluvium/selectors/token_scores.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"
#include "support/tiny_decoder.h"
#include "two_sided_sketch.h"

namespace alluvium::selectors {
namespace {

using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

at::Tensor worked_logits() {
  return at::tensor({2.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0}, at::kDouble).view({3, 3});
}

TEST_CASE("token scores: worked values", "[selectors][adapt_inf][oracle]") {
  const at::Tensor targets = at::tensor({0, 1, 2}, at::kLong);
  const TokenScores scores = score_tokens(worked_logits(), targets);
  const std::vector<double> nll = {0.239545, 0.551445, 1.098612};
  const std::vector<double> el2n = {0.260888, 0.519149, 0.816497};
  const std::vector<double> entropy = {0.665573, 0.975328, 1.098612};
  for (int64_t t = 0; t < 3; ++t) {
    const auto at = static_cast<std::size_t>(t);
    CHECK_THAT(scores.nll[t].item<double>(), WithinAbs(nll[at], 1e-6));
    CHECK_THAT(scores.el2n[t].item<double>(), WithinAbs(el2n[at], 1e-6));
    CHECK_THAT(scores.entropy[t].item<double>(), WithinAbs(entropy[at], 1e-6));
  }
  CHECK_THAT(scores.nll.mean().item<double>(), WithinAbs(0.629867, 1e-6));
  CHECK_THAT(scores.el2n.mean().item<double>(), WithinAbs(0.532178, 1e-6));
  CHECK_THAT(scores.entropy.mean().item<double>(), WithinAbs(0.913171, 1e-6));
  CHECK_THAT(std::exp(scores.nll.mean().item<double>()), WithinAbs(1.877361, 1e-6));
  const TokenScores uniform = score_tokens(at::zeros({3, 3}, at::kDouble), targets);
  const double grounding = uniform.nll.mean().item<double>() - scores.nll.mean().item<double>();
  CHECK_THAT(grounding, WithinAbs(0.468745, 1e-6));
  CHECK_THAT(std::exp(grounding), WithinAbs(1.597988, 1e-6));
  CHECK_THROWS_AS(score_tokens(worked_logits(), at::zeros({2}, at::kLong)), InvalidArgument);
}

TEST_CASE("the gradient of a linear head is the sum of delta x^T",
          "[selectors][adapt_inf][oracle]") {
  const at::Tensor x = at::tensor({1.0, 0.0, 0.0, 1.0, 1.0, 1.0}, at::kDouble).view({3, 2});
  const at::Tensor logits = worked_logits().requires_grad_(true);
  const at::Tensor loss =
      -at::log_softmax(logits, 1).gather(1, at::tensor({0, 1, 2}, at::kLong).unsqueeze(1)).mean();
  const at::Tensor delta = torch::autograd::grad({loss}, {logits})[0];
  const at::Tensor gradient = at::matmul(delta.t(), x);
  const at::Tensor wanted =
      at::tensor({0.040106, 0.181758, 0.146613, -0.030183, -0.186720, -0.151575}, at::kDouble)
          .view({3, 2});
  CHECK(at::allclose(gradient, wanted, 0, 1e-6));
  CHECK_THAT(gradient.norm().item<double>(), WithinAbs(0.338955, 1e-6));
}

struct Tiny : tests::TinyDecoder {
  std::unique_ptr<GradientScorer> scorer(const GradientScorerOptions& options = {},
                                         const backbone::AdapterState* adapter = nullptr) const {
    return make_decoder_gradient_scorer(decoder, tokenizer, options, adapter);
  }

  backbone::AdapterState adapter() const {
    backbone::AdapterState state;
    state.model = decoder->model();
    state.layers.resize(static_cast<std::size_t>(decoder->geometry().layers));
    return state;
  }
};

Sample asked(const std::string& id, const std::string& document, const std::string& prompt,
             const std::string& answer) {
  Sample sample{id, document + prompt + answer, 0};
  sample.document = document;
  sample.prompt = prompt;
  sample.answer = answer;
  return sample;
}

std::vector<Sample> some_samples() {
  std::vector<Sample> samples = {asked("a", "the bridge was built in 1931", "when? ", "in 1931"),
                                 asked("b", "", "what is red? ", "a rose"),
                                 asked("c", "one two three", "and then? ", "four")};
  samples.push_back({"d", "It rained on Monday. Then the river rose and the town was closed.", 3});
  return samples;
}

TEST_CASE("trace: rows of a block give the gradient of its factors", "[selectors][adapt_inf]") {
  const Tiny tiny;
  backbone::AdapterState state = tiny.adapter();
  const int64_t layer = 1;
  at::manual_seed(3);
  // B = 0, so the adapter changes nothing, and dL/dB = scale * G A^T.
  state.scale = 2.5;
  for (const backbone::Projection p : backbone::kAllProjections) {
    const backbone::ProjectionShape shape = backbone::shape_of(tiny.decoder->geometry(), p);
    state.layers[layer][p].a = at::randn({2, shape.in});
    state.layers[layer][p].b = at::zeros({shape.out, 2}).requires_grad_(true);
  }
  const std::vector<backbone::TokenId> tokens = {5, 17, 30, 44, 51, 60, 9};
  const backbone::KvCache context = tiny.decoder->start({}, 0);
  const backbone::ScoredSequence sequence{&context, tokens, 3};
  backbone::ScoredTrace trace;
  trace.layer = layer;
  const at::Tensor loss =
      tiny.decoder->negative_log_likelihood({&sequence, 1}, state, {}, &trace).mean();
  REQUIRE(trace.linears.size() == 4);
  CHECK(trace.first_row == std::vector<int64_t>{0, 6});
  CHECK(trace.first_score == std::vector<int64_t>{0, 4});
  CHECK(trace.logits.size(0) == 4);
  using backbone::Projection;
  const std::vector<std::vector<Projection>> parts = {{Projection::q, Projection::k, Projection::v},
                                                      {Projection::o},
                                                      {Projection::gate, Projection::up},
                                                      {Projection::down}};
  for (std::size_t m = 0; m < parts.size(); ++m) {
    const backbone::ScoredTrace::Linear& linear = trace.linears[m];
    const at::Tensor delta =
        torch::autograd::grad({loss}, {linear.output}, {}, /*retain_graph=*/true)[0];
    int64_t begin = 0;  // the map's columns among those multiplied with it
    for (const Projection p : parts[m]) {
      CAPTURE(backbone::to_string(p));
      const backbone::LowRankFactors& factors = state.layers[layer][p];
      const int64_t out = factors.b.size(0);
      const at::Tensor gradient = at::matmul(delta.narrow(1, begin, out).t(), linear.input);
      const at::Tensor wanted =
          torch::autograd::grad({loss}, {factors.b}, {}, /*retain_graph=*/true)[0];
      const at::Tensor found = at::matmul(gradient, factors.a.t()) * state.scale;
      const auto size = wanted.norm().item<double>();
      CHECK(size > 0);
      CHECK((found - wanted).norm().item<double>() <= 1e-4 * size);
      begin += out;
    }
    CHECK(begin == linear.output.size(1));
  }
  const at::Tensor plain =
      tiny.decoder->negative_log_likelihood({&sequence, 1}, tiny.adapter()).mean();
  CHECK_THAT(plain.item<double>(), WithinRel(loss.item<double>(), 1e-6));
  trace.layer = 2;
  CHECK_THROWS_AS(tiny.decoder->negative_log_likelihood({&sequence, 1}, state, {}, &trace),
                  InvalidArgument);
}

TEST_CASE("sketch: square orthogonal matrices keep every inner product",
          "[selectors][adapt_inf][property]") {
  const auto seed = GENERATE(range(0U, 5U));
  CAPTURE(seed);
  at::manual_seed(seed);
  constexpr int64_t kOut = 24;
  constexpr int64_t kIn = 17;
  const std::vector<int64_t> first_row = {0, 5, 14};
  const at::Tensor delta = at::randn({14, kOut}, at::kDouble);
  // Rows in common, so that the two gradients are not at right angles by themselves.
  const at::Tensor input = at::randn({14, kIn}, at::kDouble) + at::randn({1, kIn}, at::kDouble);
  const auto orthogonal = [](int64_t size) {
    return std::get<0>(at::linalg_qr(at::randn({size, size}, at::kDouble)));
  };
  const std::vector<at::Tensor> sketches =
      two_sided_sketches(delta, input, orthogonal(kOut), orthogonal(kIn), first_row);
  REQUIRE(sketches.size() == 2);
  std::vector<at::Tensor> gradients;
  for (std::size_t b = 0; b < 2; ++b) {
    const int64_t rows = first_row[b + 1] - first_row[b];
    gradients.push_back(
        at::matmul(delta.narrow(0, first_row[b], rows).t(), input.narrow(0, first_row[b], rows)));
  }
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t j = 0; j < 2; ++j) {
      const auto exact = (gradients[i] * gradients[j]).sum().item<double>();
      const auto lengths = (gradients[i].norm() * gradients[j].norm()).item<double>();
      CHECK_THAT((sketches[i] * sketches[j]).sum().item<double>(),
                 WithinAbs(exact, 1e-12 * lengths));
    }
  }
  CHECK((sketches[0] - gradients[0]).norm().item<double>() > 0.1);  // they are turned
}

TEST_CASE("sketch: a sample alone is a sample of a batch", "[selectors][adapt_inf][property]") {
  const Tiny tiny;
  const auto scorer = tiny.scorer();
  const std::vector<Sample> samples = some_samples();
  const std::vector<ScoredSample> together = scorer->score(samples);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    CAPTURE(i);
    const ScoredSample alone = scorer->score({&samples[i], 1}).front();
    REQUIRE(alone.excluded.empty());
    CHECK(std::ssize(alone.sketch) == scorer->dimension());
    for (std::size_t e = 0; e < kExperts; ++e) {
      CHECK(std::isnan(alone.scores[e]) == std::isnan(together[i].scores[e]));
      if (!std::isnan(alone.scores[e])) {
        CHECK_THAT(together[i].scores[e], WithinAbs(alone.scores[e], 1e-4));
      }
    }
    float largest = 0;
    for (std::size_t d = 0; d < alone.sketch.size(); ++d) {
      largest = std::max(largest, std::abs(alone.sketch[d] - together[i].sketch[d]));
    }
    CHECK(largest < 1e-4F);
  }
  CHECK(!std::isnan(together[0].score(Expert::dg_ctx)));
  CHECK(std::isnan(together[1].score(Expert::dg_ctx)));
  CHECK(!std::isnan(together[3].score(Expert::dg_self)));
  CHECK(std::isnan(together[0].score(Expert::dg_self)));
}

TEST_CASE("sketch: inner products have the gradients' as their mean",
          "[selectors][adapt_inf][property]") {
  const Tiny tiny;
  const std::vector<Sample> samples = {asked("a", "", "the sky is ", "blue and wide"),
                                       asked("b", "", "the sky is ", "blue or grey")};
  // A sketch as wide as the maps' longest side gives the truth to about one part in 128.
  std::vector<double> products;
  constexpr uint64_t kDraws = 60;
  double mean = 0;
  double squares = 0;
  for (uint64_t seed = 0; seed < kDraws; ++seed) {
    const auto scorer = tiny.scorer({.sketch_side = 8, .seed = seed});
    const std::vector<ScoredSample> scored = scorer->score(samples);
    const double product = static_cast<double>(dot(scored[0].sketch, scored[1].sketch));
    mean += product / static_cast<double>(kDraws);
    squares += product * product / static_cast<double>(kDraws);
  }
  // The exact inner product, from the same rows.
  std::array<std::vector<at::Tensor>, 2> gradients;
  for (std::size_t i = 0; i < 2; ++i) {
    std::vector<backbone::TokenId> tokens = {*tiny.tokenizer->find_token("<|endoftext|>")};
    for (const std::string* part : {&samples[i].prompt, &samples[i].answer}) {
      const auto ids = tiny.tokenizer->encode(*part);
      tokens.insert(tokens.end(), ids.begin(), ids.end());
    }
    const auto answer = static_cast<int64_t>(tiny.tokenizer->encode(samples[i].answer).size());
    const backbone::KvCache context = tiny.decoder->start({}, 0);
    const backbone::ScoredSequence sequence{&context, tokens,
                                            static_cast<int64_t>(tokens.size()) - answer};
    backbone::ScoredTrace trace;
    trace.layer = 1;
    const at::Tensor loss =
        tiny.decoder->negative_log_likelihood({&sequence, 1}, tiny.adapter(), {}, &trace).mean();
    for (const auto& linear : trace.linears) {
      const at::Tensor delta =
          torch::autograd::grad({loss}, {linear.output}, {}, /*retain_graph=*/true)[0];
      gradients[i].push_back(at::matmul(delta.t(), linear.input));
    }
  }
  double exact = 0;
  for (std::size_t m = 0; m < gradients[0].size(); ++m) {
    exact += (gradients[0][m] * gradients[1][m]).sum().item<double>();
  }
  const double standard_error = std::sqrt((squares - mean * mean) / static_cast<double>(kDraws));
  CHECK_THAT(mean, WithinAbs(exact, 3.5 * standard_error));
  CHECK(std::abs(exact) > 3.5 * standard_error);  // or the check above would show nothing
}

TEST_CASE("sketch: what cannot be learned from is excluded with its reason",
          "[selectors][adapt_inf]") {
  const Tiny tiny;
  const std::vector<Sample> samples = {asked("a", "a document", "a question?", ""),
                                       {"b", "hi", 0},
                                       some_samples()[0],
                                       asked("d", "", std::string(600, 'x'), "y")};
  const std::vector<ScoredSample> scored = tiny.scorer()->score(samples);
  CHECK(scored[0].excluded == "has no answer tokens");
  CHECK(scored[1].excluded.find("has no halves") != std::string::npos);
  CHECK(scored[2].excluded.empty());
  CHECK(scored[3].excluded.find("the window has") != std::string::npos);

  backbone::AdapterState broken = tiny.adapter();
  backbone::LowRankFactors& o = broken.layers[1][backbone::Projection::o];
  o.a = at::full({1, tests::TinyLlama::kModelWidth}, std::numeric_limits<float>::quiet_NaN());
  o.b = at::ones({tests::TinyLlama::kModelWidth, 1});
  const ScoredSample diverged = tiny.scorer({}, &broken)->score({&samples[2], 1}).front();
  CHECK(diverged.excluded == "its loss or gradient is not finite");
  CHECK(diverged.sketch.empty());
  CHECK_THROWS_AS(tiny.scorer({.layer = 2}), InvalidArgument);
  CHECK_THROWS_AS(tiny.scorer({.sketch_side = 0}), InvalidArgument);
}

TEST_CASE("sketch: a long document is cut at its start, the answer never",
          "[selectors][adapt_inf]") {
  const Tiny tiny;
  const auto scorer = tiny.scorer({.max_tokens = 24});
  const std::string tail = " which ends like this";
  const std::vector<Sample> samples = {asked("a", std::string(80, 'q') + tail, "so? ", "yes"),
                                       asked("b", std::string(90, 'z') + tail, "so? ", "yes")};
  const std::vector<ScoredSample> scored = scorer->score(samples);
  REQUIRE(scored[0].excluded.empty());
  CHECK(scored[0].answer_tokens == static_cast<int64_t>(tiny.tokenizer->encode("yes").size()));
  CHECK_THAT(scored[0].score(Expert::nll), WithinAbs(scored[1].score(Expert::nll), 1e-5));
}

// Brings the same tokens for every prompt but one.
class SpokenRecall final : public MemoryRecall {
 public:
  SpokenRecall(std::shared_ptr<const backbone::Decoder> decoder,
               std::vector<backbone::TokenId> begin, std::vector<backbone::TokenId> memory)
      : decoder_(std::move(decoder)), begin_(std::move(begin)), memory_(std::move(memory)) {}

  std::string label() const override { return "spoken memories"; }

  std::optional<RecalledContexts> recall(const Sample& sample, int64_t room) override {
    if (sample.id == "nothing") {
      return std::nullopt;
    }
    std::vector<backbone::TokenId> both = begin_;
    both.insert(both.end(), memory_.begin(), memory_.end());
    return RecalledContexts{read(begin_, room), read(both, room)};
  }

 private:
  backbone::KvCache read(const std::vector<backbone::TokenId>& tokens, int64_t room) const {
    const c10::InferenceMode inference;
    backbone::KvCache cache = decoder_->start({}, static_cast<int64_t>(tokens.size()) + room);
    const backbone::ReadRequest request{.cache = &cache, .tokens = tokens};
    decoder_->read({&request, 1});
    return cache;
  }

  std::shared_ptr<const backbone::Decoder> decoder_;
  std::vector<backbone::TokenId> begin_;
  std::vector<backbone::TokenId> memory_;
};

TEST_CASE(
    "dg_mem: is the loss without a memory less that with it, and nothing where none is brought",
    "[selectors][adapt_inf]") {
  const Tiny tiny;
  const std::vector<backbone::TokenId> begin = {5, 17, 30};
  const std::vector<backbone::TokenId> memory = tiny.tokenizer->encode("in 1931 it was built. ");
  GradientScorerOptions options;
  options.memory = std::make_shared<SpokenRecall>(tiny.decoder, begin, memory);
  const auto scorer = tiny.scorer(options);
  CHECK_THAT(scorer->label(), Catch::EndsWith("spoken memories"));
  std::vector<Sample> samples = some_samples();
  samples.push_back(asked("nothing", "", "what? ", "this"));
  const auto scored = scorer->score(samples);
  const auto plain = tiny.scorer()->score(samples);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const double gain = scored[i].score(Expert::dg_mem);
    CHECK(scored[i].sketch == plain[i].sketch);
    CHECK(std::isnan(plain[i].score(Expert::dg_mem)));
    if (samples[i].is_plain_text() || samples[i].id == "nothing") {
      CHECK(std::isnan(gain));
      continue;
    }
    // The same tokens read in one go.
    const auto loss = [&](const std::vector<backbone::TokenId>& before) {
      std::vector<backbone::TokenId> tokens = before;
      const auto prompt = tiny.tokenizer->encode(samples[i].prompt);
      const auto answer = tiny.tokenizer->encode(samples[i].answer);
      tokens.insert(tokens.end(), prompt.begin(), prompt.end());
      const auto scored_from = std::ssize(tokens);
      tokens.insert(tokens.end(), answer.begin(), answer.end());
      const backbone::KvCache context = tiny.decoder->start({}, 0);
      const backbone::ScoredSequence sequence{&context, tokens, scored_from};
      const at::NoGradGuard no_gradient;
      return tiny.decoder->negative_log_likelihood({&sequence, 1}, tiny.adapter())
          .mean()
          .item<double>();
    };
    std::vector<backbone::TokenId> both = begin;
    both.insert(both.end(), memory.begin(), memory.end());
    CHECK_THAT(gain, WithinAbs(loss(begin) - loss(both), 1e-4));
  }
}

TEST_CASE("dg_ctx: a document that carries the answer is seen, another is not",
          "[selectors][adapt_inf][slow]") {
  const auto path = tests::default_decoder_path();
  if (!path) {
    WARN("skipped: the default decoder is not installed");
    return;
  }
  const auto checkpoint = backbone::open_checkpoint(*path);
  const auto scorer = make_decoder_gradient_scorer(
      backbone::load_decoder(*checkpoint, backbone::reference_policy(1)),
      backbone::load_tokenizer(*checkpoint, *path), {});
  Random random(1);
  const auto code = [&] {
    std::string letters = " ";
    for (int c = 0; c < 8; ++c) {
      letters += static_cast<char>('a' + random.below(26));
    }
    return letters;
  };
  // The prompt shows what passwords look like: a document is then worth no more than the password it tells.
  std::string prompt;
  for (const char* room : {"cellar", "attic", "kitchen"}) {
    prompt += fmt::format("Question: What is the password of the {}?\nAnswer:{}\n", room, code());
  }
  prompt += "Question: What is the password of the archive?\nAnswer:";
  std::vector<Sample> samples;
  for (int i = 0; i < 6; ++i) {
    const std::string answer = code();
    samples.push_back(asked(std::to_string(i),
                            fmt::format("The password of the archive is{}.", answer), prompt,
                            answer));
  }
  const auto median = [&] {
    std::vector<double> values;
    for (const ScoredSample& scored : scorer->score(samples)) {
      values.push_back(scored.score(Expert::dg_ctx));
    }
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  };
  CHECK(median() >= 1.0);
  std::string first = samples.front().document;
  for (std::size_t i = 0; i + 1 < samples.size(); ++i) {
    samples[i].document = samples[i + 1].document;
  }
  samples.back().document = first;
  CHECK(median() <= 0.1);
}

}  // namespace
}  // namespace alluvium::selectors
