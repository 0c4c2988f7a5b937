#include "alluvium/backbone/decoder.h"

#include <ATen/ATen.h>

#include "alluvium/core/error.h"
#include "alluvium/core/random.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::backbone {
namespace {

std::vector<TokenId> random_tokens(Random& random, int64_t count) {
  std::vector<TokenId> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<TokenId>(random.below(tests::TinyLlama::kVocabulary)));
  }
  return tokens;
}

struct Tiny {
  tests::TemporaryDirectory directory;
  std::unique_ptr<Checkpoint> checkpoint =
      open_checkpoint(tests::write_tiny_llama_gguf(directory.path(), 7));
  std::unique_ptr<Decoder> decoder = load_decoder(*checkpoint, reference_policy());
};

ReadResult read_one(const Decoder& decoder, KvCache& cache, const std::vector<TokenId>& tokens,
                    Logits logits, bool capture = false) {
  const ReadRequest request{&cache, tokens, logits, capture, false};
  return decoder.read({&request, 1}).front();
}

at::Tensor all_logits(const Decoder& decoder, const std::vector<TokenId>& tokens) {
  KvCache cache = decoder.start({}, static_cast<int64_t>(tokens.size()));
  return read_one(decoder, cache, tokens, Logits::all).logits;
}

KvSegment segment_of(const ReadResult& read, int64_t first_position) {
  KvSegment segment;
  segment.keys = read.keys;
  segment.values = read.values;
  segment.positions = at::arange(first_position, first_position + read.keys.size(2), at::kLong);
  return segment;
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace

TEST_CASE("decoder: any split into captured prefix and rest gives the logits of the whole",
          "[backbone][decoder][property]") {
  const Tiny tiny;
  const auto seed = GENERATE(range(0U, 8U));
  CAPTURE(seed);
  Random random(seed);
  const std::vector<TokenId> tokens = random_tokens(random, 24);
  const at::Tensor whole = all_logits(*tiny.decoder, tokens);
  const auto cut = static_cast<int64_t>(1 + random.below(22));
  KvCache first = tiny.decoder->start({}, cut);
  const ReadResult head = read_one(*tiny.decoder, first, {tokens.begin(), tokens.begin() + cut},
                                   Logits::none, /*capture=*/true);
  KvPrefix prefix;
  prefix.segments = {segment_of(head, 0)};
  prefix.next_position = cut;
  KvCache cache = tiny.decoder->start(prefix, 24 - cut);
  const at::Tensor rest =
      read_one(*tiny.decoder, cache, {tokens.begin() + cut, tokens.end()}, Logits::all).logits;
  CHECK(largest_difference(rest, whole.narrow(0, cut, 24 - cut)) < 1e-4);
}

TEST_CASE("decoder: a prefix moved with its text gives the same logits",
          "[backbone][decoder][property]") {
  const Tiny tiny;
  Random random(3);
  const std::vector<TokenId> document = random_tokens(random, 12);
  const std::vector<TokenId> question = random_tokens(random, 5);
  KvCache reading = tiny.decoder->start({}, 12);
  const ReadResult read = read_one(*tiny.decoder, reading, document, Logits::none, true);
  at::Tensor at_zero;
  for (const int64_t offset : {0, 100, 200}) {
    KvPrefix prefix;
    prefix.segments = {segment_of(read, offset)};
    prefix.next_position = offset + 12;
    KvCache cache = tiny.decoder->start(prefix, 5);
    const at::Tensor logits = read_one(*tiny.decoder, cache, question, Logits::all).logits;
    at_zero = offset == 0 ? logits : at_zero;
    CHECK(largest_difference(logits, at_zero) < 1e-4);
  }
}

TEST_CASE("decoder: the order of parallel segments does not change the logits",
          "[backbone][decoder][property]") {
  const Tiny tiny;
  Random random(5);
  std::vector<KvSegment> segments;
  for (const int64_t length : {9, 4, 7}) {
    KvCache reading = tiny.decoder->start({}, length);
    const ReadResult read =
        read_one(*tiny.decoder, reading, random_tokens(random, length), Logits::none, true);
    segments.push_back(segment_of(read, 0));
    segments.back().context = true;
  }
  const std::vector<TokenId> question = random_tokens(random, 4);
  const double temperature = GENERATE(1.0, 0.9);
  const auto ask = [&](std::vector<KvSegment> order) {
    KvPrefix prefix;
    prefix.segments = std::move(order);
    prefix.next_position = 9;
    prefix.temperature = temperature;
    prefix.lse_scale = temperature;
    KvCache cache = tiny.decoder->start(prefix, 4);
    return read_one(*tiny.decoder, cache, question, Logits::all).logits;
  };
  const at::Tensor forwards = ask({segments[0], segments[1], segments[2]});
  CHECK(largest_difference(forwards, ask({segments[2], segments[0], segments[1]})) < 1e-5);
}

TEST_CASE("decoder: a sequence in a batch equals the sequence alone",
          "[backbone][decoder][property]") {
  const Tiny tiny;
  Random random(11);
  std::vector<std::vector<TokenId>> texts;
  std::vector<KvCache> caches;
  for (const int64_t length : {1, 13, 2, 40}) {
    texts.push_back(random_tokens(random, length));
    caches.push_back(tiny.decoder->start({}, length));
  }
  std::vector<ReadRequest> requests;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    requests.push_back({&caches[i], texts[i], Logits::all, true, true});
  }
  const std::vector<ReadResult> together = tiny.decoder->read(requests);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(i);
    CHECK(largest_difference(together[i].logits, all_logits(*tiny.decoder, texts[i])) < 1e-4);
    CHECK(together[i].keys.size(2) == static_cast<int64_t>(texts[i].size()));
    CHECK(together[i].hidden.size(0) == static_cast<int64_t>(texts[i].size()));
  }
}

TEST_CASE("decoder: a GGUF file and the Hugging Face directory of one model agree",
          "[backbone][decoder]") {
  const Tiny tiny;
  const auto other =
      load_decoder(*open_checkpoint(tests::write_tiny_llama_huggingface(tiny.directory.path(), 7)),
                   reference_policy());
  Random random(2);
  const std::vector<TokenId> tokens = random_tokens(random, 20);
  CHECK(largest_difference(all_logits(*tiny.decoder, tokens), all_logits(*other, tokens)) < 1e-5);
  CHECK(tiny.decoder->fingerprint() != other->fingerprint());
}

TEST_CASE("decoder: an empty prefix, and one whose slots are all removed, equal the bare model",
          "[backbone][decoder]") {
  const Tiny tiny;
  Random random(9);
  const std::vector<TokenId> question = random_tokens(random, 6);
  const auto ask = [&](const KvPrefix& prefix) {
    KvCache cache = tiny.decoder->start(prefix, 6);
    return read_one(*tiny.decoder, cache, question, Logits::all).logits;
  };
  KvPrefix bare;
  bare.next_position = 10;
  KvCache reading = tiny.decoder->start({}, 10);
  const ReadResult read =
      read_one(*tiny.decoder, reading, random_tokens(random, 10), Logits::none, true);
  KvPrefix removed = bare;
  removed.segments = {segment_of(read, 0)};
  removed.segments[0].log_bias = at::full({10}, -std::numeric_limits<float>::infinity());
  CHECK(largest_difference(ask(bare), ask(removed)) < 1e-5);
  removed.segments[0].log_bias = at::full({10}, -60.0F);
  CHECK(largest_difference(ask(bare), ask(removed)) < 1e-4);
}

TEST_CASE("decoder: a rewound cache answers as a fresh one", "[backbone][decoder]") {
  const Tiny tiny;
  Random random(4);
  const std::vector<TokenId> document = random_tokens(random, 8);
  const std::vector<TokenId> question = random_tokens(random, 4);
  KvCache cache = tiny.decoder->start({}, 20);
  read_one(*tiny.decoder, cache, document, Logits::none);
  const at::Tensor first = read_one(*tiny.decoder, cache, question, Logits::all).logits;
  cache.rewind(8, 8);
  const at::Tensor again = read_one(*tiny.decoder, cache, question, Logits::all).logits;
  CHECK(at::equal(first, again));
  CHECK_THROWS_AS(cache.rewind(13, 8), InvalidArgument);
}

TEST_CASE("decoder: bad requests are refused before anything is computed", "[backbone][decoder]") {
  const Tiny tiny;
  KvCache cache = tiny.decoder->start({}, 4);
  CHECK_THROWS_AS(read_one(*tiny.decoder, cache, {}, Logits::last), InvalidArgument);
  CHECK_THROWS_AS(read_one(*tiny.decoder, cache, {1, 2, 3, 4, 5}, Logits::last), InvalidArgument);
  CHECK_THROWS_AS(read_one(*tiny.decoder, cache, {128}, Logits::last), InvalidArgument);
  CHECK_THROWS_AS(read_one(*tiny.decoder, cache, {-1}, Logits::last), InvalidArgument);
  CHECK_THROWS_AS(tiny.decoder->start({}, tests::TinyLlama::kContext + 1), InvalidArgument);
  KvPrefix wrong;
  wrong.segments.resize(1);
  wrong.segments[0].keys = at::zeros({1, 2, 3, 4});
  wrong.segments[0].values = at::zeros({1, 2, 3, 4});
  CHECK_THROWS_AS(tiny.decoder->start(wrong, 1), InvalidArgument);
  CHECK(cache.slots() == 0);
}

TEST_CASE("decoder: no sequence of calls changes a weight", "[backbone][decoder]") {
  const Tiny tiny;
  const Digest before = tiny.decoder->hash_weights();
  Random random(1);
  for (int i = 0; i < 1000; ++i) {
    KvCache cache = tiny.decoder->start({}, 16);
    const bool capture = i % 2 == 0;
    read_one(*tiny.decoder, cache,
             random_tokens(random, static_cast<int64_t>(1 + random.below(15))), Logits::last,
             capture);
    read_one(*tiny.decoder, cache, random_tokens(random, 1), Logits::all);
  }
  CHECK(tiny.decoder->hash_weights() == before);
}

}  // namespace alluvium::backbone
