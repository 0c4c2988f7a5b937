// Segments whose layers and heads have slots of their own, and attention that is watched.
#include <cmath>
#include <limits>

#include <ATen/ATen.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "attention.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/question_logits.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::backbone {
namespace {

using tests::TinyLlama;

constexpr int64_t kSlots = TinyLlama::kLayers * TinyLlama::kKvHeads;

std::vector<TokenId> random_tokens(Random& random, int64_t count) {
  std::vector<TokenId> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<TokenId>(random.below(TinyLlama::kVocabulary)));
  }
  return tokens;
}

struct Tiny {
  tests::TemporaryDirectory directory;
  std::unique_ptr<Checkpoint> checkpoint =
      open_checkpoint(tests::write_tiny_llama_gguf(directory.path(), 7));
  std::unique_ptr<Decoder> decoder = load_decoder(*checkpoint, reference_policy());

  KvSegment capture(const std::vector<TokenId>& tokens, int64_t first, bool context) const {
    KvCache cache = decoder->start({}, static_cast<int64_t>(tokens.size()));
    const ReadRequest request{.cache = &cache, .tokens = tokens, .capture = true};
    const ReadResult read = decoder->read({&request, 1}).front();
    KvSegment segment;
    segment.keys = read.keys;
    segment.values = read.values;
    segment.positions = at::arange(first, first + read.keys.size(2), at::kLong);
    segment.context = context;
    return segment;
  }

  at::Tensor ask(const KvPrefix& prefix, const std::vector<TokenId>& question) const {
    KvCache cache = decoder->start(prefix, static_cast<int64_t>(question.size()) + 3);
    return tests::question_logits(*decoder, cache, question);
  }
};

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

// The rows `kept[slot]` of an even segment, ragged.
KvSegment keep_rows(const KvSegment& even, const std::vector<std::vector<int64_t>>& kept) {
  KvSegment ragged = even;
  std::vector<at::Tensor> keys;
  std::vector<at::Tensor> values;
  std::vector<at::Tensor> positions;
  for (std::size_t slot = 0; slot < kept.size(); ++slot) {
    const at::Tensor rows = at::tensor(kept[slot], at::kLong);
    keys.push_back(even.keys.flatten(0, 1)[static_cast<int64_t>(slot)].index_select(0, rows));
    values.push_back(even.values.flatten(0, 1)[static_cast<int64_t>(slot)].index_select(0, rows));
    positions.push_back(even.positions.index_select(0, rows));
    ragged.row_counts.push_back(rows.numel());
  }
  ragged.keys = at::cat(keys);
  ragged.values = at::cat(values);
  ragged.positions = at::cat(positions);
  return ragged;
}

// The same by a bias of -inf on the other rows.
KvSegment remove_rows(const KvSegment& even, const std::vector<std::vector<int64_t>>& kept) {
  KvSegment removed = even;
  removed.log_bias = at::full({TinyLlama::kLayers, TinyLlama::kKvHeads, even.slots()},
                              -std::numeric_limits<float>::infinity(), at::kFloat);
  for (std::size_t slot = 0; slot < kept.size(); ++slot) {
    for (const int64_t row : kept[slot]) {
      removed.log_bias.flatten(0, 1)[static_cast<int64_t>(slot)][row] = 0;
    }
  }
  return removed;
}

std::vector<std::vector<int64_t>> random_rows(Random& random, int64_t n) {
  std::vector<std::vector<int64_t>> kept(kSlots);
  for (auto& rows : kept) {
    for (int64_t row = 0; row < n; ++row) {
      if (random.below(3) == 0) {
        rows.push_back(row);
      }
    }
    if (rows.empty()) {
      rows.push_back(0);
    }
  }
  return kept;
}

}  // namespace

TEST_CASE("ragged: rows that are not there equal rows that are removed",
          "[backbone][decoder][property]") {
  const Tiny tiny;
  const auto seed = GENERATE(range(0U, 6U));
  const double temperature = GENERATE(1.0, 0.8);
  CAPTURE(seed, temperature);
  Random random(seed);
  const KvSegment shared = tiny.capture(random_tokens(random, 5), 0, false);
  const KvSegment first = tiny.capture(random_tokens(random, 20), 5, true);
  const KvSegment second = tiny.capture(random_tokens(random, 13), 5, true);
  const KvSegment whole = tiny.capture(random_tokens(random, 4), 5, true);
  const auto first_rows = random_rows(random, 20);
  const auto second_rows = random_rows(random, 13);
  const std::vector<TokenId> question = random_tokens(random, 6);
  const auto ask = [&](std::vector<KvSegment> segments) {
    KvPrefix prefix;
    prefix.segments = std::move(segments);
    prefix.next_position = 25;
    prefix.temperature = temperature;
    prefix.lse_scale = temperature;
    return tiny.ask(prefix, question);
  };
  const at::Tensor ragged =
      ask({shared, keep_rows(first, first_rows), whole, keep_rows(second, second_rows)});
  const at::Tensor removed =
      ask({shared, remove_rows(first, first_rows), whole, remove_rows(second, second_rows)});
  CHECK(largest_difference(ragged, removed) < 1e-4);
  // The order of documents does not matter.
  CHECK(largest_difference(ragged, ask({keep_rows(second, second_rows), shared, whole,
                                        keep_rows(first, first_rows)})) < 1e-4);
}

TEST_CASE("ragged: keeping every row is the even segment", "[backbone][decoder]") {
  const Tiny tiny;
  Random random(3);
  const KvSegment shared = tiny.capture(random_tokens(random, 5), 0, false);
  const KvSegment document = tiny.capture(random_tokens(random, 9), 5, true);
  const std::vector<std::vector<int64_t>> all(kSlots, {0, 1, 2, 3, 4, 5, 6, 7, 8});
  const std::vector<TokenId> question = random_tokens(random, 6);
  KvPrefix even;
  even.segments = {shared, document};
  even.next_position = 14;
  KvPrefix ragged = even;
  ragged.segments[1] = keep_rows(document, all);
  CHECK(largest_difference(tiny.ask(even, question), tiny.ask(ragged, question)) < 1e-5);
}

TEST_CASE("ragged: one row with bias ln 3 weighs as three equal ones",
          "[backbone][decoder][property]") {
  const Tiny tiny;
  Random random(8);
  const KvSegment document = tiny.capture(random_tokens(random, 9), 0, true);
  const std::vector<TokenId> question = random_tokens(random, 6);
  const double temperature = GENERATE(1.0, 0.8);
  const auto ask = [&](const KvSegment& segment) {
    KvPrefix prefix;
    prefix.segments = {segment, tiny.capture({7, 8}, 0, false)};
    prefix.next_position = 9;
    prefix.temperature = temperature;
    return tiny.ask(prefix, question);
  };
  std::vector<std::vector<int64_t>> thrice(kSlots, {0, 2, 4, 4, 4, 8});
  thrice[1] = {4, 4, 4};
  std::vector<std::vector<int64_t>> once(kSlots, {0, 2, 4, 8});
  once[1] = {4};
  KvSegment merged = keep_rows(document, once);
  merged.log_bias = at::zeros({merged.keys.size(0)}, at::kFloat);
  for (const int64_t row : {2, 4, 7, 11}) {  // row 4 of the document, in each slot
    merged.log_bias[row] = std::log(3.0);
  }
  CHECK(largest_difference(ask(keep_rows(document, thrice)), ask(merged)) < 1e-5);
}

TEST_CASE("ragged: a cache counts the slots it attends to", "[backbone][decoder]") {
  const Tiny tiny;
  Random random(2);
  const KvSegment document = tiny.capture(random_tokens(random, 9), 0, true);
  KvPrefix prefix;
  prefix.segments = {tiny.capture({7, 8}, 0, false),
                     keep_rows(document, {{0, 1, 2}, {0}, {0, 5, 6, 7}, {3, 4}})};
  prefix.next_position = 11;
  const KvCache cache = tiny.decoder->start(prefix, 3);
  CHECK(cache.slots() == 6);
  CHECK(cache.capacity() == 9);
  CHECK(cache.mean_slots() == 2 + 10.0 / 4);
}

TEST_CASE("ragged: counts that do not fit are refused", "[backbone][decoder]") {
  const Tiny tiny;
  Random random(2);
  const KvSegment document = tiny.capture(random_tokens(random, 9), 0, true);
  KvPrefix prefix;
  prefix.segments = {keep_rows(document, {{0, 1, 2}, {0}, {0, 5, 6, 7}, {3, 4}})};
  prefix.next_position = 9;
  KvSegment& segment = prefix.segments[0];
  SECTION("too few") { segment.row_counts.pop_back(); }
  SECTION("another sum") { ++segment.row_counts[0]; }
  SECTION("a head without rows") {
    segment.row_counts[1] = 0;
    ++segment.row_counts[0];
  }
  SECTION("ordinary text") { segment.context = false; }
  CHECK_THROWS_AS(tiny.decoder->start(prefix, 3), InvalidArgument);
}

TEST_CASE("observed attention: highest weights by hand", "[backbone][attention][oracle]") {
  // Two query heads of one KV head, the last two of six tokens; scaled logits
  // (2,0,1,0,0), (0,0,1,3,0,0) and (0,1,0,0,1), (0,0,2,0,0,1). Keys are unit vectors.
  const auto options = at::TensorOptions(at::kFloat);
  const at::Tensor keys = at::eye(6, 8, options).unsqueeze(0);
  const at::Tensor logits = at::tensor({2.0, 0.0, 1.0, 0.0, 0.0, 0.0,  // first token, head 0
                                        0.0, 1.0, 0.0, 0.0, 1.0, 0.0,  // and head 1
                                        0.0, 0.0, 1.0, 3.0, 0.0, 0.0,  //
                                        0.0, 0.0, 2.0, 0.0, 0.0, 1.0},
                                       at::kFloat)
                                .view({2, 2, 6});
  const at::Tensor queries = at::constant_pad_nd(logits * std::sqrt(8.0), {0, 2});
  AttentionView view;
  view.slots_before = 4;
  view.mask = make_mask(view, 2, 2, options);
  ObservedSlots observed{0, 4, at::empty({1, 4}, options)};
  attend(queries.contiguous(), keys, keys, view, &observed);
  const std::vector<double> expected = {0.563734, 0.322202, 0.523774, 0.749354};
  for (int64_t slot = 0; slot < 4; ++slot) {
    CHECK_THAT(observed.maximum[0][slot].item<double>(),
               Catch::Matchers::WithinAbs(expected[static_cast<std::size_t>(slot)], 2e-6));
  }
}

TEST_CASE("observed attention: a read's highest weights are those of its queries and keys",
          "[backbone][decoder][property]") {
  const Tiny tiny;
  Random random(GENERATE(range(0U, 4U)));
  const std::vector<TokenId> before = random_tokens(random, 14);
  const std::vector<TokenId> after =
      random_tokens(random, 1 + static_cast<int64_t>(random.below(9)));
  const auto n = static_cast<int64_t>(after.size());
  KvCache cache = tiny.decoder->start({}, 14 + n);
  const ReadRequest reading{.cache = &cache, .tokens = before, .capture = true};
  const ReadResult first = tiny.decoder->read({&reading, 1}).front();
  const ReadRequest watching{.cache = &cache,
                             .tokens = after,
                             .capture = true,
                             .queries = true,
                             .observed_begin = 3,
                             .observed_end = 12};
  const ReadResult second = tiny.decoder->read({&watching, 1}).front();
  REQUIRE(second.attention_maximum.sizes().vec() ==
          std::vector<int64_t>{TinyLlama::kLayers, TinyLlama::kKvHeads, 9});
  const DecoderGeometry& geometry = tiny.decoder->geometry();
  const Rope rope(geometry.head_dim, geometry.rope_base, geometry.max_positions);
  const at::Tensor keys =
      rope.rotate(at::cat({first.keys, second.keys}, 2), at::arange(14 + n, at::kLong));
  const at::Tensor queries = rope.rotate(second.queries, at::arange(14, 14 + n, at::kLong));
  for (int64_t layer = 0; layer < geometry.layers; ++layer) {
    for (int64_t head = 0; head < geometry.kv_heads; ++head) {
      at::Tensor highest = at::zeros({9});
      for (int64_t q = 2 * head; q < 2 * head + 2; ++q) {
        for (int64_t row = 0; row < n; ++row) {
          const at::Tensor seen = keys[layer][head].narrow(0, 0, 14 + row + 1);
          const at::Tensor weights =
              at::softmax(seen.matmul(queries[layer][q][row]) / std::sqrt(8.0), 0);
          highest = at::maximum(highest, weights.narrow(0, 3, 9));
        }
      }
      CHECK(largest_difference(highest, second.attention_maximum[layer][head]) < 1e-5);
    }
  }
}

TEST_CASE("observed attention: slots that were not there are refused", "[backbone][decoder]") {
  const Tiny tiny;
  KvCache cache = tiny.decoder->start({}, 10);
  const std::vector<TokenId> tokens = {1, 2, 3};
  ReadRequest request{.cache = &cache, .tokens = tokens};
  request.observed_end = 1;
  CHECK_THROWS_AS(tiny.decoder->read({&request, 1}), InvalidArgument);
  request.observed_end = 0;
  tiny.decoder->read({&request, 1});
  request.observed_end = 4;
  CHECK_THROWS_AS(tiny.decoder->read({&request, 1}), InvalidArgument);
  request.observed_end = 3;
  CHECK_NOTHROW(tiny.decoder->read({&request, 1}));
}

}  // namespace alluvium::backbone
