// The kv codec under all presets: switching, and what the quality gate measures.
#include "alluvium/memory_bank/kv_family.h"

#include <algorithm>

#include <c10/core/InferenceMode.h>

#include "tiny_model.h"

namespace alluvium::tests {
namespace {

memory_bank::KvFamily make_family(const TinyModel& model, const CodecOptions& options) {
  return memory_bank::KvFamily(
      CodecContext{model.decoder.get(), model.tokenizer.get(), &model.prefix, options});
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
  CHECK(family.to_prefix(memories, 8).segments.size() == 3);
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

TEST_CASE("quality gate: the worst share is stored with the next larger preset",
          "[memory_bank][kv][family]") {
  const TinyModel model;
  CodecOptions options;
  options.preset = "tiny";
  options.richer_share = 0.1;
  memory_bank::KvFamily family = make_family(model, options);
  const std::vector<Chunk> chunk = {chunk_of(9, 100)};
  const double gap = *family.compress(chunk).front().origin.quality_gap;
  // Too few are known.
  CHECK(family.compress(chunk).front().origin.preset == "tiny");
  family.recall_gaps(std::vector<double>(200, gap + 1));
  CHECK(family.compress(chunk).front().origin.preset == "tiny");
  family.recall_gaps(std::vector<double>(1000, -10));
  const Memory memory = family.compress(chunk).front();
  const bool loses = gap > 0;
  CHECK(memory.origin.preset == (loses ? "compact" : "tiny"));
  CHECK(memory.origin.aim == family.aim());
  CHECK((memory.fingerprint != family.aim()) == loses);
  // Switching begins anew.
  family.switch_to("compact");
  CHECK(family.compress(chunk).front().origin.preset == "compact");
}

}  // namespace
}  // namespace alluvium::tests
