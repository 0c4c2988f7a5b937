// Adapters beside the frozen weights: the serving path, and the path that records gradients.
#include "alluvium/backbone/adapter.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/backbone/generation.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/pretend_gpu.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::backbone {
namespace {

using Tokens = std::vector<TokenId>;

DevicePolicy policy_of(at::ScalarType dtype, at::Device device) {
  DevicePolicy policy = reference_policy();
  policy.dtype = dtype;
  policy.device = device;
  return policy;
}

struct Tiny {
  explicit Tiny(at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU)
      : decoder(load_decoder(*checkpoint, policy_of(dtype, device))) {}

  tests::TemporaryDirectory directory;
  std::unique_ptr<Checkpoint> checkpoint =
      open_checkpoint(tests::write_tiny_llama_gguf(directory.path(), 7));
  std::unique_ptr<Decoder> decoder;
};

Tokens random_tokens(Random& random, int64_t count) {
  Tokens tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<TokenId>(random.below(tests::TinyLlama::kVocabulary)));
  }
  return tokens;
}

at::Tensor random_tensor(Random& random, int64_t rows, int64_t columns, double size,
                         at::ScalarType dtype) {
  at::Tensor tensor = at::empty({rows, columns}, at::kDouble);
  for (int64_t i = 0; i < rows * columns; ++i) {
    tensor.data_ptr<double>()[i] = size * random.normal();
  }
  return tensor.to(dtype);
}

AdapterState random_adapter(const Decoder& decoder, const std::vector<Projection>& projections,
                            uint64_t seed, at::ScalarType dtype = at::kFloat) {
  Random random(seed);
  AdapterState state;
  state.model = decoder.model();
  state.scale = 1.5;
  state.layers.resize(decoder.geometry().layers);
  int64_t rank = 2;
  for (LayerFactors& layer : state.layers) {
    for (const Projection p : projections) {
      const ProjectionShape shape = shape_of(decoder.geometry(), p);
      layer[p].a = random_tensor(random, rank, shape.in, 0.3, dtype);
      layer[p].b = random_tensor(random, shape.out, rank, 0.3, dtype);
      rank = rank == 2 ? 3 : 2;  // ranks may differ
    }
  }
  return state;
}

// Rows of its own for each layer and head.
KvCache ragged_context(const Decoder& decoder, uint64_t seed) {
  const DecoderGeometry& g = decoder.geometry();
  Random random(seed);
  KvSegment segment;
  int64_t rows = 0;
  for (int64_t slot = 0; slot < g.layers * g.kv_heads; ++slot) {
    segment.row_counts.push_back(static_cast<int64_t>(1 + random.below(6)));
    rows += segment.row_counts.back();
  }
  segment.keys = random_tensor(random, rows, g.head_dim, 1.0, at::kFloat);
  segment.values = random_tensor(random, rows, g.head_dim, 1.0, at::kFloat);
  segment.positions = at::arange(rows, at::kLong).remainder(6);
  segment.log_bias = at::linspace(-1, 1, rows, at::kFloat);
  segment.context = true;
  KvPrefix prefix;
  prefix.segments = {segment};
  prefix.next_position = 7;
  return decoder.start(prefix, 64);
}

// A context of random rotated keys and values.
KvCache random_context(const Decoder& decoder, int64_t slots, uint64_t seed,
                       bool with_bias = false) {
  const DecoderGeometry& g = decoder.geometry();
  Random random(seed);
  const auto states = [&] {
    return random_tensor(random, g.layers * g.kv_heads * slots, g.head_dim, 1.0, at::kFloat)
        .view({g.layers, g.kv_heads, slots, g.head_dim});
  };
  KvPrefix prefix;
  KvSegment segment;
  segment.keys = states();
  segment.values = states();
  segment.key_space = KeySpace::rotated;
  segment.positions = at::arange(slots, at::kLong);
  if (with_bias) {
    segment.log_bias = at::linspace(-1, 1, slots, at::kFloat);
    segment.log_bias[1] = -std::numeric_limits<float>::infinity();
  }
  prefix.segments = {segment};
  prefix.next_position = slots;
  return decoder.start(prefix, 64);
}

at::Tensor read_logits(const Decoder& decoder, const Tokens& tokens, const Adapter* adapter) {
  KvCache cache = random_context(decoder, 5, 11);
  const ReadRequest request{&cache, tokens, Logits::all, false, false, adapter};
  return decoder.read({&request, 1}).front().logits;
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace

TEST_CASE("adapter: each request of a batch is read with its own adapter or none",
          "[backbone][adapter][property]") {
  const Tiny tiny;
  const std::vector<Projection> all(kAllProjections.begin(), kAllProjections.end());
  const auto first = tiny.decoder->prepare(random_adapter(*tiny.decoder, all, 1));
  const auto second = tiny.decoder->prepare(
      random_adapter(*tiny.decoder, {Projection::k, Projection::up, Projection::down}, 2));
  const std::vector<const Adapter*> adapters = {first.get(), nullptr, first.get(), first.get(),
                                                second.get()};
  Random random(3);
  std::vector<Tokens> tokens;
  std::vector<KvCache> caches;
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    tokens.push_back(random_tokens(random, 3 + static_cast<int64_t>(i)));
    caches.push_back(random_context(*tiny.decoder, 5, 11));
  }
  std::vector<ReadRequest> requests;
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    requests.push_back({&caches[i], tokens[i], Logits::all, false, false, adapters[i]});
  }
  const std::vector<ReadResult> together = tiny.decoder->read(requests);
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    CAPTURE(i);
    const at::Tensor alone = read_logits(*tiny.decoder, tokens[i], adapters[i]);
    CHECK(largest_difference(together[i].logits, alone) < 1e-5);
    const at::Tensor bare = read_logits(*tiny.decoder, tokens[i], nullptr);
    CHECK((largest_difference(alone, bare) > 1e-3) == (adapters[i] != nullptr));
  }
}

TEST_CASE("adapter: in bfloat16 the share is that of float32, whatever the number of threads",
          "[backbone][adapter][property]") {
  const Tiny wide;
  const Tiny narrow(at::kBFloat16);
  // One row, few rows, and more than few.
  const auto count = GENERATE(1, 7, 40, 59);
  CAPTURE(count);
  Random random(15);
  const Tokens tokens = random_tokens(random, count);
  const AdapterState state =
      random_adapter(*wide.decoder, {kAllProjections.begin(), kAllProjections.end()}, 16);
  const auto of_wide = wide.decoder->prepare(state);
  const auto of_narrow = narrow.decoder->prepare(state);
  const at::Tensor expected = read_logits(*wide.decoder, tokens, of_wide.get());
  const double effect = largest_difference(expected, read_logits(*wide.decoder, tokens, nullptr));
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor found = read_logits(*narrow.decoder, tokens, of_narrow.get());
  at::set_num_threads(3);
  CHECK(at::equal(read_logits(*narrow.decoder, tokens, of_narrow.get()), found));
  at::set_num_threads(threads);
  const double apart = largest_difference(found, expected);
  CAPTURE(apart, effect);
  CHECK(apart < 0.05 * effect);
}

TEST_CASE("adapter: a factor B of zeros changes nothing", "[backbone][adapter]") {
  const Tiny tiny;
  AdapterState state = random_adapter(*tiny.decoder, {Projection::q, Projection::gate}, 4);
  for (LayerFactors& layer : state.layers) {
    layer[Projection::q].b.zero_();
    layer[Projection::gate].b.zero_();
  }
  const auto adapter = tiny.decoder->prepare(state);
  const Tokens tokens = {5, 9, 30};
  CHECK(largest_difference(read_logits(*tiny.decoder, tokens, adapter.get()),
                           read_logits(*tiny.decoder, tokens, nullptr)) == 0);
}

TEST_CASE("adapter: one that does not fit is refused by name", "[backbone][adapter]") {
  const Tiny tiny;
  AdapterState state = random_adapter(*tiny.decoder, {Projection::o}, 5);
  SECTION("another model") {
    state.model[0] ^= 1;
    CHECK_THROWS_WITH(tiny.decoder->prepare(state), Catch::Contains("belongs to model"));
  }
  SECTION("too few layers") {
    state.layers.pop_back();
    CHECK_THROWS_WITH(tiny.decoder->prepare(state), Catch::Contains("layers"));
  }
  SECTION("another width") {
    state.layers[1][Projection::o].a = at::zeros({2, 33});
    CHECK_THROWS_WITH(tiny.decoder->prepare(state), Catch::Contains("layer 1 o_proj"));
  }
  SECTION("a number that is not finite") {
    state.layers[0][Projection::o].b[3][1] = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_WITH(tiny.decoder->prepare(state), Catch::Contains("not finite"));
  }
}

TEST_CASE("adapter: the likelihood with a gradient is the likelihood of the serving path",
          "[backbone][adapter][property]") {
  const Tiny tiny;
  const auto seed = GENERATE(range(0U, 6U));
  CAPTURE(seed);
  Random random(seed);
  const std::vector<Projection> all(kAllProjections.begin(), kAllProjections.end());
  const AdapterState state = random_adapter(*tiny.decoder, all, seed);
  const auto adapter = tiny.decoder->prepare(state);

  // Two contexts, the second shared by three sequences: with biases, or ragged.
  const bool ragged = seed % 2 == 1;
  const auto make_shared_context = [&] {
    return ragged ? ragged_context(*tiny.decoder, seed + 200)
                  : random_context(*tiny.decoder, 4, seed + 200, /*with_bias=*/true);
  };
  const KvCache plain = random_context(*tiny.decoder, 7, seed + 100);
  const KvCache biased = make_shared_context();
  const int64_t biased_slots = biased.slots();
  std::vector<Tokens> tokens;
  std::vector<ScoredSequence> sequences;
  for (int i = 0; i < 4; ++i) {
    tokens.push_back(random_tokens(random, static_cast<int64_t>(2 + random.below(7))));
  }
  for (int i = 0; i < 4; ++i) {
    const auto n = static_cast<uint64_t>(tokens[i].size());
    sequences.push_back(
        {i == 0 ? &plain : &biased, tokens[i], static_cast<int64_t>(1 + random.below(n - 1))});
  }
  const at::Tensor found = tiny.decoder->negative_log_likelihood(sequences, state);

  int64_t at = 0;
  for (const ScoredSequence& sequence : sequences) {
    KvCache copy = sequence.context == &plain ? random_context(*tiny.decoder, 7, seed + 100)
                                              : make_shared_context();
    const auto prompt = sequence.tokens.subspan(0, sequence.scored_from);
    const auto scored = sequence.tokens.subspan(sequence.scored_from);
    const std::vector<double> expected =
        score_tokens(*tiny.decoder, copy, prompt, scored, adapter.get());
    for (const double log_probability : expected) {
      CHECK_THAT(found[at++].item<double>(), Catch::WithinAbs(-log_probability, 1e-4));
    }
  }
  CHECK(at == found.numel());
  CHECK(plain.slots() == 7);
  CHECK(biased.slots() == biased_slots);
}

TEST_CASE("adapter: gradients equal finite differences in double precision",
          "[backbone][adapter][property]") {
  const Tiny tiny(at::kDouble);
  const std::vector<Projection> all(kAllProjections.begin(), kAllProjections.end());
  AdapterState state = random_adapter(*tiny.decoder, all, 9, at::kDouble);
  for (LayerFactors& layer : state.layers) {
    for (LowRankFactors& factors : layer.of) {
      factors.a.requires_grad_(true);
      factors.b.requires_grad_(true);
    }
  }
  const KvCache first = random_context(*tiny.decoder, 6, 21, /*with_bias=*/true);
  const KvCache second = random_context(*tiny.decoder, 3, 22);
  const Tokens a = {3, 17, 99, 4, 61};
  const Tokens b = {8, 8, 31};
  const Tokens c = {120, 5, 44, 2};
  const std::vector<ScoredSequence> sequences = {{&first, a, 2}, {&first, b, 1}, {&second, c, 1}};
  const auto loss = [&] { return tiny.decoder->negative_log_likelihood(sequences, state).mean(); };
  loss().backward();

  const at::NoGradGuard no_gradient;
  Random random(1);
  constexpr double kStep = 1e-5;
  for (std::size_t l = 0; l < state.layers.size(); ++l) {
    for (const Projection p : kAllProjections) {
      for (const bool of_a : {true, false}) {
        LowRankFactors& factors = state.layers[l][p];
        at::Tensor& tensor = of_a ? factors.a : factors.b;
        for (int probe = 0; probe < 6; ++probe) {
          const auto i = static_cast<int64_t>(random.below(static_cast<uint64_t>(tensor.numel())));
          double& number = tensor.data_ptr<double>()[i];
          const double kept = number;
          number = kept + kStep;
          const auto above = loss().item<double>();
          number = kept - kStep;
          const auto below = loss().item<double>();
          number = kept;
          CAPTURE(l, to_string(p), of_a, i);
          const double gradient = tensor.grad().flatten()[i].item<double>();
          CHECK_THAT(gradient, Catch::WithinAbs((above - below) / (2 * kStep), 1e-6));
        }
      }
    }
  }
}

TEST_CASE("adapter: a sequence's gradient alone is its share in a batch",
          "[backbone][adapter][property]") {
  const Tiny tiny;
  const KvCache context = random_context(*tiny.decoder, 6, 31);
  const std::vector<Tokens> tokens = {{3, 17, 99, 4}, {8, 31}, {120, 5, 44}};
  const auto gradient_of = [&](const std::vector<std::size_t>& which) {
    AdapterState state = random_adapter(*tiny.decoder, {Projection::v, Projection::down}, 10);
    std::vector<at::Tensor> leaves;
    for (LayerFactors& layer : state.layers) {
      leaves.push_back(layer[Projection::v].b.requires_grad_(true));
      leaves.push_back(layer[Projection::down].a.requires_grad_(true));
    }
    std::vector<ScoredSequence> sequences;
    for (const std::size_t i : which) {
      sequences.push_back({&context, tokens[i], 1});
    }
    tiny.decoder->negative_log_likelihood(sequences, state).sum().backward();
    std::vector<at::Tensor> flat;
    for (const at::Tensor& leaf : leaves) {
      flat.push_back(leaf.grad().flatten());
    }
    return at::cat(flat);
  };
  const at::Tensor apart = gradient_of({0}) + gradient_of({1}) + gradient_of({2});
  CHECK(largest_difference(gradient_of({0, 1, 2}), apart) <
        1e-4 * apart.abs().max().item<double>());
}

TEST_CASE(
    "adapter: on a GPU, where contexts are padded to one length, likelihood and gradient are those "
    "of the CPU",
    "[backbone][adapter][pretend][property]") {
  const Tiny on_cpu;
  const Tiny there(at::kFloat, tests::pretend_gpu());
  const auto seed = GENERATE(range(0U, 6U));
  CAPTURE(seed);
  const auto learn = [&](const Tiny& tiny) {
    Random random(seed);
    const std::vector<KvCache> contexts = [&] {
      std::vector<KvCache> made;
      made.push_back(random_context(*tiny.decoder, 7, seed + 100));
      made.push_back(seed % 2 == 1
                         ? ragged_context(*tiny.decoder, seed + 200)
                         : random_context(*tiny.decoder, 4, seed + 200, /*with_bias=*/true));
      made.push_back(random_context(*tiny.decoder, 2, seed + 300));
      return made;
    }();
    AdapterState state =
        random_adapter(*tiny.decoder, {kAllProjections.begin(), kAllProjections.end()}, seed);
    std::vector<at::Tensor> leaves;
    for (LayerFactors& layer : state.layers) {
      for (LowRankFactors& factors : layer.of) {
        for (at::Tensor* factor : {&factors.a, &factors.b}) {
          *factor = factor->to(tiny.decoder->policy().device).requires_grad_(true);
          leaves.push_back(*factor);
        }
      }
    }
    std::vector<Tokens> tokens;
    for (int i = 0; i < 5; ++i) {
      tokens.push_back(random_tokens(random, static_cast<int64_t>(2 + random.below(7))));
    }
    std::vector<ScoredSequence> sequences;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      sequences.push_back({&contexts[i / 2], tokens[i], 1});
    }
    const at::Tensor losses = tiny.decoder->negative_log_likelihood(sequences, state);
    losses.sum().backward();
    std::vector<at::Tensor> results = {losses.detach().cpu()};
    for (const at::Tensor& leaf : leaves) {
      results.push_back(leaf.grad().cpu().flatten());
    }
    return at::cat(results);
  };
  const at::Tensor expected = learn(on_cpu);
  CHECK(largest_difference(learn(there), expected) < 1e-4 * expected.abs().max().item<double>());
}

TEST_CASE("adapter: training passes change no weight and no context", "[backbone][adapter]") {
  const Tiny tiny;
  const Digest before = tiny.decoder->hash_weights();
  KvCache context = random_context(*tiny.decoder, 6, 31);
  const Tokens probe = {7, 8, 9};
  const auto logits_after_context = [&] {
    const ReadRequest request{&context, probe, Logits::all, false, false};
    at::Tensor logits = tiny.decoder->read({&request, 1}).front().logits.clone();
    context.rewind(6, 6);
    return logits;
  };
  const at::Tensor expected = logits_after_context();
  AdapterState state = random_adapter(*tiny.decoder, {Projection::q}, 12);
  for (LayerFactors& layer : state.layers) {
    layer[Projection::q].a.requires_grad_(true);
  }
  const Tokens tokens = {3, 17, 99, 4};
  const std::vector<ScoredSequence> sequences = {{&context, tokens, 1}};
  for (int i = 0; i < 50; ++i) {
    tiny.decoder->negative_log_likelihood(sequences, state, {.probability = 0.1, .seed = 1})
        .mean()
        .backward();
  }
  CHECK(tiny.decoder->hash_weights() == before);
  CHECK(at::equal(logits_after_context(), expected));
}

TEST_CASE("adapter: scoring refuses what it cannot score", "[backbone][adapter]") {
  const Tiny tiny;
  const KvCache context = random_context(*tiny.decoder, 6, 31);
  const AdapterState state = random_adapter(*tiny.decoder, {Projection::q}, 12);
  const auto score = [&](const Tokens& tokens, int64_t from) {
    const ScoredSequence sequence{&context, tokens, from};
    tiny.decoder->negative_log_likelihood({&sequence, 1}, state);
  };
  CHECK_THROWS_AS(score({3}, 1), InvalidArgument);
  CHECK_THROWS_AS(score({3, 4}, 0), InvalidArgument);
  CHECK_THROWS_AS(score({3, 4}, 2), InvalidArgument);
  CHECK_THROWS_AS(score({3, 4000}, 1), InvalidArgument);
  CHECK_THROWS_AS(tiny.decoder->negative_log_likelihood({}, state), InvalidArgument);
}

}  // namespace alluvium::backbone
