// Documents read apart, and the rows of their sequence that are made anew (CacheBlend).
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <ATen/ATen.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/question_logits.h"
#include "support/synthetic_checkpoint.h"
#include "value_deviation.h"

namespace alluvium::backbone {
namespace {

using tests::TinyLlama;

using Tokens = std::vector<TokenId>;

constexpr int64_t kPrefix = 4;
constexpr int64_t kRoom = 9;

/// Pre-RoPE keys and values of consecutive tokens, [layers, kv_heads, n, head_dim].
struct Rows {
  at::Tensor keys;
  at::Tensor values;

  int64_t size() const { return keys.size(2); }
  Rows first(int64_t n) const { return {keys.narrow(2, 0, n), values.narrow(2, 0, n)}; }
};

KvSegment segment_of(const Rows& rows, int64_t first) {
  KvSegment segment;
  segment.keys = rows.keys;
  segment.values = rows.values;
  segment.positions = at::arange(first, first + rows.size(), at::kLong);
  return segment;
}

/// A tiny decoder and documents of 9, 14 and 6 tokens, each read alone behind a prefix.
struct Sequence {
  explicit Sequence(int64_t layers, uint64_t seed = 1, at::ScalarType dtype = at::kFloat)
      : random(seed),
        checkpoint(open_checkpoint(tests::write_tiny_llama_gguf(directory.path(), 7, layers))) {
    DevicePolicy policy = reference_policy();
    policy.dtype = dtype;
    decoder = load_decoder(*checkpoint, policy);
    question = draw(5);
    prefix_tokens = draw(kPrefix);
    prefix = read({}, prefix_tokens);
    std::vector<at::Tensor> keys;
    std::vector<at::Tensor> values;
    for (const int64_t length : {9, 14, 6}) {
      const Tokens document = draw(length);
      text.insert(text.end(), document.begin(), document.end());
      const Rows rows = read(prefix_alone(), document);
      keys.push_back(rows.keys);
      values.push_back(rows.values);
    }
    apart = {at::cat(keys, 2), at::cat(values, 2)};
    whole = read(prefix_alone(), text);
  }

  Tokens draw(int64_t count) {
    Tokens tokens;
    for (int64_t i = 0; i < count; ++i) {
      tokens.push_back(static_cast<TokenId>(random.below(TinyLlama::kVocabulary)));
    }
    return tokens;
  }

  KvPrefix prefix_alone() const {
    KvPrefix start;
    start.segments.push_back(segment_of(prefix, 0));
    start.next_position = kPrefix;
    return start;
  }

  /// The prefix and, after it, these rows of the documents.
  KvPrefix with(const Rows& rows) const {
    KvPrefix start = prefix_alone();
    start.segments.push_back(segment_of(rows, kPrefix));
    start.segments.back().context = true;
    start.next_position += rows.size();
    return start;
  }

  Rows read(const KvPrefix& before, const Tokens& tokens) const {
    KvCache cache = decoder->start(before, static_cast<int64_t>(tokens.size()));
    const ReadRequest request{.cache = &cache, .tokens = tokens, .capture = true};
    const ReadResult result = decoder->read({&request, 1}).front();
    return {result.keys, result.values};
  }

  at::Tensor ask(KvCache& cache) const { return tests::question_logits(*decoder, cache, question); }

  at::Tensor ask(const Rows& rows) const {
    KvCache cache = decoder->start(with(rows), kRoom);
    return ask(cache);
  }

  std::vector<int64_t> repair(KvCache& cache, double share) const {
    return decoder->repair({.cache = &cache, .tokens = text, .share = share});
  }

  at::Tensor ask_repaired(double share) const {
    KvCache cache = decoder->start(with(apart), kRoom);
    repair(cache, share);
    return ask(cache);
  }

  /// What repair() is to do, one row at a time: layers 0 and 1 of every row as in one text, and each
  /// row chosen read over the rows before it as they are by then.
  Rows repaired_slowly(const std::vector<int64_t>& chosen) const {
    Rows rows{apart.keys.clone(), apart.values.clone()};
    rows.keys.narrow(0, 0, 2).copy_(whole.keys.narrow(0, 0, 2));
    rows.values.narrow(0, 0, 2).copy_(whole.values.narrow(0, 0, 2));
    for (const int64_t row : chosen) {
      const Rows one = read(with(rows.first(row)), {text[static_cast<std::size_t>(row)]});
      rows.keys.narrow(2, row, 1).copy_(one.keys);
      rows.values.narrow(2, row, 1).copy_(one.values);
    }
    return rows;
  }

  Random random;
  tests::TemporaryDirectory directory;
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Decoder> decoder;
  Tokens question;
  Tokens prefix_tokens;
  Tokens text;  // of the documents
  Rows prefix;
  Rows apart;  // of the documents, each read alone
  Rows whole;  // of the documents, read as one text
};

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace

TEST_CASE("repair: the tokens whose values changed most are chosen, the question's apart",
          "[backbone][repair][oracle]") {
  // One head of two channels; the last row is the question's, which is read in any case.
  const at::Tensor stored = at::tensor({1.0, 0.0, 0.0, 1.0, 2.0, 2.0, 0.0, 0.0, 1.0, 1.0});
  const at::Tensor fresh = at::tensor({1.0, 0.0, 0.0, 2.0, 2.0, 0.5, 3.0, 0.0, 1.0, 1.5});
  const at::Tensor deviation = value_deviation(stored.view({1, 5, 2}), fresh.view({1, 5, 2}));
  CHECK(largest_difference(deviation, at::tensor({0.0F, 1.0F, 2.25F, 9.0F, 0.25F})) < 1e-6);
  const int64_t count = count_of_share(0.5, 4);
  CHECK(count == 2);
  CHECK(most_deviating(deviation.narrow(0, 0, 4), count) == std::vector<int64_t>{2, 3});
  // Heads add up: the same rows as two heads of one channel.
  CHECK(largest_difference(value_deviation(stored.view({5, 2}).t().unsqueeze(-1),
                                           fresh.view({5, 2}).t().unsqueeze(-1)),
                           deviation) < 1e-6);
}

TEST_CASE("repair: shares are rounded down, and of equal tokens the first are chosen",
          "[backbone][repair]") {
  CHECK(count_of_share(0, 100) == 0);
  CHECK(count_of_share(0.16, 6) == 0);
  CHECK(count_of_share(0.16, 25) == 4);
  CHECK(count_of_share(1, 7) == 7);
  CHECK(most_deviating(at::tensor({1.0F, 2.0F, 1.0F, 2.0F, 1.0F}), 3) ==
        std::vector<int64_t>{0, 1, 3});
  CHECK(most_deviating(at::tensor({1.0F, 2.0F}), 0).empty());
}

TEST_CASE("repair: all rows anew are the documents read as one text, none are the documents apart",
          "[backbone][repair]") {
  const int64_t layers = GENERATE(1, 2, 4);
  CAPTURE(layers);
  const Sequence s(layers);
  CHECK(largest_difference(s.ask_repaired(1), s.ask(s.whole)) < 1e-4);
  CHECK(largest_difference(s.ask_repaired(0), s.ask(s.apart)) == 0);
  if (layers > 1) {
    CHECK(largest_difference(s.ask(s.apart), s.ask(s.whole)) > 1e-3);
  }
}

TEST_CASE("repair: some rows anew are what reading them one by one over the others gives",
          "[backbone][repair][property]") {
  const auto seed = GENERATE(range(uint64_t{0}, uint64_t{6}));
  const double share = GENERATE(0.04, 0.16, 0.5, 0.9);
  CAPTURE(seed, share);
  const Sequence s(5, seed);
  KvCache cache = s.decoder->start(s.with(s.apart), kRoom);
  const std::vector<int64_t> chosen = s.repair(cache, share);
  const auto n = static_cast<int64_t>(s.text.size());
  CHECK(chosen == most_deviating(value_deviation(s.apart.values[1], s.whole.values[1]),
                                 count_of_share(share, n)));
  // The first document saw all that stands before it when it was read alone.
  if (static_cast<int64_t>(chosen.size()) <= n - 9) {
    CHECK(chosen.front() >= 9);
  }
  CHECK(cache.slots() == kPrefix + n);
  CHECK(cache.next_position() == kPrefix + n);
  CHECK(largest_difference(s.ask(cache), s.ask(s.repaired_slowly(chosen))) < 1e-4);
}

TEST_CASE("repair: more rows anew come nearer to one text", "[backbone][repair][property]") {
  double apart = 0;
  double some = 0;
  double more = 0;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const Sequence s(5, seed);
    const at::Tensor whole = s.ask(s.whole);
    apart += (s.ask(s.apart) - whole).square().mean().item<double>();
    some += (s.ask_repaired(0.16) - whole).square().mean().item<double>();
    more += (s.ask_repaired(0.6) - whole).square().mean().item<double>();
  }
  CHECK(some < 0.8 * apart);
  CHECK(more < 0.8 * some);
}

TEST_CASE("repair: 16 bits change what they always change", "[backbone][repair]") {
  const Sequence s(4, 1, at::kBFloat16);
  CHECK(largest_difference(s.ask_repaired(1), s.ask(s.whole)) < 4e-2);
}

TEST_CASE("repair: what cannot be repaired is refused and left as it is", "[backbone][repair]") {
  const Sequence s(4);
  KvCache cache = s.decoder->start(s.with(s.apart), kRoom);
  const auto refused = [&](const KvPrefix& prefix) {
    KvCache other = s.decoder->start(prefix, kRoom);
    CHECK_THROWS_AS(s.repair(other, 0.5), InvalidArgument);
  };
  KvPrefix biased = s.with(s.apart);
  biased.segments[1].log_bias = at::zeros({s.apart.size()});
  refused(biased);
  KvPrefix warm = s.with(s.apart);
  warm.temperature = 0.9;
  refused(warm);
  KvPrefix side_by_side = s.with(s.apart);
  side_by_side.next_position -= 3;
  refused(side_by_side);
  KvPrefix ragged = s.with(s.apart);
  KvSegment& rows = ragged.segments[1];
  rows.row_counts.assign(static_cast<std::size_t>(4 * TinyLlama::kKvHeads), rows.slots());
  rows.keys = rows.keys.flatten(0, 2);
  rows.values = rows.values.flatten(0, 2);
  rows.positions = rows.positions.repeat({4 * TinyLlama::kKvHeads});
  refused(ragged);

  CHECK_THROWS_AS(s.repair(cache, 1.01), InvalidArgument);
  CHECK_THROWS_AS(s.repair(cache, -0.01), InvalidArgument);
  CHECK_THROWS_AS(s.decoder->repair({.cache = nullptr, .tokens = s.text, .share = 1}),
                  InvalidArgument);
  CHECK_THROWS_AS(s.decoder->repair({.cache = &cache, .tokens = {}, .share = 1}), InvalidArgument);
  Tokens strange = s.text;
  strange.back() = TinyLlama::kVocabulary;
  CHECK_THROWS_AS(s.decoder->repair({.cache = &cache, .tokens = strange, .share = 1}),
                  InvalidArgument);
  const Tokens too_many(s.text.size() + kPrefix + 1, 3);
  CHECK_THROWS_AS(s.decoder->repair({.cache = &cache, .tokens = too_many, .share = 1}),
                  InvalidArgument);
  CHECK(largest_difference(s.ask(cache), s.ask(s.apart)) == 0);
}

TEST_CASE("recompute: the rows asked for are what reading them one by one over the others gives",
          "[backbone][repair][property]") {
  const auto seed = GENERATE(range(uint64_t{0}, uint64_t{6}));
  CAPTURE(seed);
  const Sequence s(3, seed);
  const auto n = static_cast<int64_t>(s.text.size());
  Random random(seed + 100);
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < n; ++row) {
    if (random.uniform() < 0.3 || row == n - 1) {
      rows.push_back(row);
    }
  }
  Rows slow{s.apart.keys.clone(), s.apart.values.clone()};
  for (const int64_t row : rows) {
    const Rows one = s.read(s.with(slow.first(row)), {s.text[static_cast<std::size_t>(row)]});
    slow.keys.narrow(2, row, 1).copy_(one.keys);
    slow.values.narrow(2, row, 1).copy_(one.values);
  }
  KvCache cache = s.decoder->start(s.with(s.apart), kRoom);
  const RecomputedRows made =
      s.decoder->recompute({.cache = &cache, .tokens = s.text, .rows = rows, .parts = {}});
  const at::Tensor index = at::tensor(rows, at::kLong);
  CHECK(largest_difference(made.keys, slow.keys.index_select(2, index)) < 1e-4);
  CHECK(largest_difference(made.values, slow.values.index_select(2, index)) < 1e-4);
  CHECK_FALSE(made.attention.defined());
  CHECK(cache.slots() == kPrefix + n);
  CHECK(largest_difference(s.ask(cache), s.ask(slow)) < 1e-4);
}

TEST_CASE("recompute: all rows anew are the documents read as one text", "[backbone][repair]") {
  const int64_t layers = GENERATE(1, 2, 4);
  const Sequence s(layers);
  std::vector<int64_t> rows(s.text.size());
  std::iota(rows.begin(), rows.end(), int64_t{0});
  KvCache cache = s.decoder->start(s.with(s.apart), kRoom);
  const RecomputedRows made =
      s.decoder->recompute({.cache = &cache, .tokens = s.text, .rows = rows, .parts = {}});
  CHECK(largest_difference(made.keys, s.whole.keys) < 1e-4);
  CHECK(largest_difference(made.values, s.whole.values) < 1e-4);
  CHECK(largest_difference(s.ask(cache), s.ask(s.whole)) < 1e-4);
}

// More parts than a head has channels are measured in several goes.
TEST_CASE("recompute: a row's attention to each part is that of its softmax",
          "[backbone][repair][property]") {
  const Sequence s(3);
  const auto n = static_cast<int64_t>(s.text.size());
  const std::vector<int64_t> parts =
      GENERATE(std::vector<int64_t>{9, 14, 6}, std::vector<int64_t>(29, 1));
  CAPTURE(parts.size());
  const std::vector<int64_t> rows = {0, 8, 9, 20, 28};
  KvCache cache = s.decoder->start(s.with(s.whole), kRoom);
  const RecomputedRows made =
      s.decoder->recompute({.cache = &cache, .tokens = s.text, .rows = rows, .parts = parts});
  REQUIRE(made.attention.sizes() == at::IntArrayRef({3, static_cast<int64_t>(rows.size()),
                                                     static_cast<int64_t>(parts.size())}));

  // Queries and keys of one reading, all before rotation, and the softmax by hand.
  KvCache plain = s.decoder->start({}, kPrefix + n);
  Tokens everything = s.prefix_tokens;
  everything.insert(everything.end(), s.text.begin(), s.text.end());
  const ReadRequest request{
      .cache = &plain, .tokens = everything, .capture = true, .queries = true};
  const ReadResult read = s.decoder->read({&request, 1}).front();
  constexpr int64_t heads = TinyLlama::kHeads;
  constexpr int64_t kv_heads = TinyLlama::kKvHeads;
  const DecoderGeometry& geometry = s.decoder->geometry();
  const Rope rope(geometry.head_dim, geometry.rope_base, geometry.max_positions);
  const at::Tensor positions = at::arange(kPrefix + n, at::kLong);
  for (int64_t l = 0; l < 3; ++l) {
    at::Tensor weights = at::zeros({n, static_cast<int64_t>(parts.size())});
    for (int64_t h = 0; h < heads; ++h) {
      const at::Tensor q = rope.rotate(read.queries[l][h], positions);
      const at::Tensor k = rope.rotate(read.keys[l][h * kv_heads / heads], positions);
      at::Tensor logits = at::matmul(q, k.t()) / std::sqrt(static_cast<double>(geometry.head_dim));
      logits.masked_fill_(at::ones_like(logits, at::kBool).triu(1),
                          -std::numeric_limits<double>::infinity());
      const at::Tensor softmax = at::softmax(logits, 1).narrow(0, kPrefix, n);
      int64_t begin = kPrefix;
      for (std::size_t part = 0; part < parts.size(); ++part) {
        weights.select(1, static_cast<int64_t>(part))
            .add_(softmax.narrow(1, begin, parts[part]).sum(1) / heads);
        begin += parts[part];
      }
    }
    CHECK(largest_difference(made.attention[l],
                             weights.index_select(0, at::tensor(rows, at::kLong))) < 1e-4);
  }
}

TEST_CASE("recompute: what cannot be recomputed is refused and left as it is",
          "[backbone][repair]") {
  const Sequence s(4);
  KvCache cache = s.decoder->start(s.with(s.apart), kRoom);
  const std::vector<int64_t> rows = {3, 5};
  const auto refuse = [&](RecomputeRequest request) {
    CHECK_THROWS_AS(s.decoder->recompute(request), InvalidArgument);
  };
  const RecomputeRequest good{.cache = &cache, .tokens = s.text, .rows = rows, .parts = {}};
  RecomputeRequest bad = good;
  bad.cache = nullptr;
  refuse(bad);
  bad = good;
  bad.rows = {};
  refuse(bad);
  for (const std::vector<int64_t>& wrong :
       {std::vector<int64_t>{5, 3}, {3, 3}, {-1, 3}, {3, static_cast<int64_t>(s.text.size())}}) {
    bad.rows = wrong;
    refuse(bad);
  }
  bad = good;
  for (const std::vector<int64_t>& wrong :
       {std::vector<int64_t>{9, 14}, {9, 14, 7}, {9, 20, 0}, {-1, 30}}) {
    bad.parts = wrong;
    refuse(bad);
  }
  KvPrefix warm = s.with(s.apart);
  warm.temperature = 0.9;
  KvCache other = s.decoder->start(warm, kRoom);
  bad = good;
  bad.cache = &other;
  refuse(bad);
  CHECK(largest_difference(s.ask(cache), s.ask(s.apart)) == 0);
}

}  // namespace alluvium::backbone
