// The kv codec under all presets: switching, and what the quality gate measures.
#include "alluvium/memory_bank/kv_family.h"

#include <algorithm>

#include <c10/core/InferenceMode.h>

#include "tiny_model.h"

namespace alluvium::tests {
namespace {

memory_bank::KvFamily make_family(const TinyModel& model, const CodecOptions& options) {
  return memory_bank::KvFamily(model.context(options));
}

CodecOptions gated(const std::string& preset, double richer_share) {
  CodecOptions options;
  options.preset = preset;
  options.richer_share = richer_share;
  return options;
}

/// The first of some chunks whose gap under the settings in force is as wanted.
template <class Wanted>
Chunk chunk_with(const memory_bank::KvFamily& family, Wanted wanted) {
  for (TokenId first = 1; first < TinyLlama::kVocabulary; ++first) {
    const Chunk chunk = chunk_of(first, 100);
    if (wanted(*family.compress(std::vector{chunk}).front().origin.quality_gap)) {
      return chunk;
    }
  }
  FAIL("no chunk has such a gap");
  return {};
}

Chunk losing_chunk(const memory_bank::KvFamily& family) {
  return chunk_with(family, [](double gap) { return gap > 0; });
}

TEST_CASE("kv family: a memory is what the preset in force makes, under its fingerprint",
          "[memory_bank][kv][family]") {
  const TinyModel model;
  CodecOptions options;
  options.preset = "safe";
  memory_bank::KvFamily family = make_family(model, options);
  const std::vector<Chunk> chunks = {chunk_of(3, 80)};
  for (const std::string& preset : memory_bank::kv_presets()) {
    CAPTURE(preset);
    CodecOptions alone;
    alone.preset = preset;
    family.switch_to(preset);
    const auto single = model.make("kv", alone);
    const Memory memory = family.compress(chunks).front();
    CHECK(memory.fingerprint == single->fingerprint());
    CHECK(family.aim() == single->fingerprint());
    CHECK(memory.origin.preset == preset);
    CHECK(memory.origin.aim == family.aim());
    const Memories ours = {std::make_shared<const Memory>(memory)};
    const Memories theirs = compress(*single, chunks);
    CHECK(difference(model.ask(family.to_prefix(ours, 8)),
                     model.ask(single->to_prefix(theirs, 8))) == 0);
  }
}

TEST_CASE("kv family: memories of several presets stand side by side",
          "[memory_bank][kv][family]") {
  const TinyModel model;
  memory_bank::KvFamily family = make_family(model, {});
  Memories memories;
  for (const char* preset : {"lossless", "tiny"}) {
    family.switch_to(preset);
    for (Memory& memory : family.compress(std::vector<Chunk>{chunk_of(5, 70)})) {
      memory.fingerprint = family.fingerprint();  // as a store gives it out
      memories.push_back(std::make_shared<const Memory>(std::move(memory)));
    }
  }
  // The prefix, all rows of one, the kept rows of the other and the row for those it lost.
  CHECK(family.to_prefix(memories, 8).segments.size() == 4);
  auto stranger = std::make_shared<Memory>(*memories[0]);
  stranger->fingerprint = sha256("another model");
  const Memories strange = {stranger};
  CHECK_THROWS_AS(family.to_prefix(strange, 8), InvalidArgument);
}

TEST_CASE("kv family: its fingerprint is the model's, whatever the settings",
          "[memory_bank][kv][family]") {
  const TinyModel model;
  CodecOptions single;
  single.preset = "default";
  single.keep = 0.4;
  memory_bank::KvFamily custom = make_family(model, single);
  const memory_bank::KvFamily plain = make_family(model, {});
  CHECK(custom.fingerprint() == plain.fingerprint());
  CHECK(custom.preset() == "custom");
  CHECK(custom.members().size() == memory_bank::kv_presets().size() + 1);
  CHECK_THROWS_AS(custom.switch_to("custom"), InvalidArgument);
  CHECK_THROWS_AS(custom.switch_to("enormous"), InvalidArgument);
  custom.switch_to("tiny");
  custom.switch_to("configured");
  CHECK(custom.preset() == "custom");
}

TEST_CASE("quality gap: none for lossless memories, more the less is kept",
          "[memory_bank][kv][family]") {
  const TinyModel model;
  std::vector<Chunk> chunks;
  for (TokenId first = 1; first < 13; ++first) {
    chunks.push_back(chunk_of(first, 72 + static_cast<std::size_t>(first)));
  }
  const auto mean_size = [&](const CodecOptions& options) {
    double sum = 0;
    for (const Memory& memory : make_family(model, options).compress(chunks)) {
      REQUIRE(memory.origin.quality_gap.has_value());
      sum += std::abs(*memory.origin.quality_gap);
    }
    return sum / static_cast<double>(chunks.size());
  };
  CodecOptions exact;
  exact.preset = "safe";
  exact.key_bits = 32;
  exact.value_bits = 32;
  CodecOptions safe;
  safe.preset = "safe";
  CodecOptions little = safe;
  little.keep = 0.2;
  little.observer = "random";
  CHECK(mean_size(exact) < 1e-5);
  CHECK(mean_size(safe) < mean_size(little));

  CodecOptions none = safe;
  none.quality_tokens = 0;
  CHECK_FALSE(make_family(model, none).compress(chunks)[0].origin.quality_gap.has_value());
  const std::vector<Chunk> tiny = {chunk_of(3, 10)};
  CHECK_FALSE(make_family(model, safe).compress(tiny)[0].origin.quality_gap.has_value());
}

TEST_CASE("quality gap: a chunk among many has the gap it has alone", "[memory_bank][kv][family]") {
  const TinyModel model;
  const memory_bank::KvFamily family = make_family(model, gated("tiny", 0));
  std::vector<Chunk> chunks;
  for (TokenId first = 1; first < 38; ++first) {  // more than are read at once
    // Each seventh is too short to be judged.
    chunks.push_back(chunk_of(first, first % 7 == 0 ? 10 : 70 + static_cast<std::size_t>(first)));
  }
  const std::vector<Memory> together = family.compress(chunks);
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    CAPTURE(i);
    const Memory alone = family.compress(std::vector{chunks[i]}).front();
    REQUIRE(together[i].origin.quality_gap.has_value() == alone.origin.quality_gap.has_value());
    CHECK(alone.origin.quality_gap.has_value() == ((i + 1) % 7 != 0));
    CHECK(together[i].origin.quality_gap.value_or(0) ==
          Approx(alone.origin.quality_gap.value_or(0)).margin(1e-5));
  }
}

TEST_CASE("quality gate: with few gaps known nothing is stored richer, and switching forgets them",
          "[memory_bank][kv][family]") {
  const TinyModel model;
  memory_bank::KvFamily family = make_family(model, gated("tiny", 0.1));
  const std::vector<Chunk> chunk = {losing_chunk(family)};
  const auto kept_as = [&] { return family.compress(chunk).front().origin.preset; };
  family.switch_to("compact");
  family.switch_to("tiny");  // what losing_chunk() measured is forgotten
  family.recall_gaps(std::vector<double>(19, -10));
  CHECK(kept_as() == "tiny");  // 19 were known
  CHECK(kept_as() == "compact");
  family.switch_to("compact");
  CHECK(kept_as() == "compact");
  family.switch_to("tiny");
  CHECK(kept_as() == "tiny");
}

// Of the gaps u, 2 u, ... 1000 u a share of 0.01 takes those past the 991st.
TEST_CASE("quality gate: the chunks past the worst share's bound are stored richer, and no others",
          "[memory_bank][kv][family]") {
  const TinyModel model;
  memory_bank::KvFamily family = make_family(model, gated("tiny", 0.01));
  std::vector<Chunk> chunks;
  std::vector<double> gaps;
  for (TokenId first = 1; first < 17; ++first) {
    const Chunk chunk = chunk_of(first, 90 + static_cast<std::size_t>(first));
    const double gap = *family.compress(std::vector{chunk}).front().origin.quality_gap;
    if (gap > 0) {
      chunks.push_back(chunk);
      gaps.push_back(gap);
    }
  }
  REQUIRE(chunks.size() >= 4);
  std::vector<double> sorted = gaps;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t below = sorted.size() / 2;
  const double bound = (sorted[below - 1] + sorted[below]) / 2;
  std::vector<double> known;
  for (int i = 1; i <= 1000; ++i) {
    known.push_back(bound * i / 991);
  }
  const memory_bank::KvFamily next_larger = make_family(model, gated("compact", 0));
  std::size_t richer = 0;
  double lost = 0;
  double would_have_lost = 0;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    CAPTURE(i, gaps[i], bound);
    family.recall_gaps(known);  // a thousand are remembered: these
    const Memory memory = family.compress(std::vector{chunks[i]}).front();
    CHECK(memory.origin.aim == family.aim());
    if (gaps[i] > bound) {
      ++richer;
      CHECK(memory.origin.preset == "compact");
      const Memory alone = next_larger.compress(std::vector{chunks[i]}).front();
      CHECK(memory.fingerprint == alone.fingerprint);
      CHECK(memory.origin.quality_gap == alone.origin.quality_gap);
      lost += *memory.origin.quality_gap;
      would_have_lost += gaps[i];
    } else {
      CHECK(memory.origin.preset == "tiny");
      CHECK(memory.fingerprint == family.aim());
      CHECK(*memory.origin.quality_gap == gaps[i]);
    }
  }
  CHECK(richer == sorted.size() - below);
  CHECK(lost < would_have_lost);  // one chunk of random weights may lose more
}

TEST_CASE("quality gate: a chunk that loses nothing is not stored richer, however well others do",
          "[memory_bank][kv][family]") {
  const TinyModel model;
  memory_bank::KvFamily family = make_family(model, gated("tiny", 0.1));
  const std::vector<Chunk> chunk = {chunk_with(family, [](double gap) { return gap <= 0; })};
  family.recall_gaps(std::vector<double>(1000, -10));
  CHECK(family.compress(chunk).front().origin.preset == "tiny");
}

}  // namespace
}  // namespace alluvium::tests
