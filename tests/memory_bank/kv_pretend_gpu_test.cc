// Memories made and attended to on a device that is not the CPU.
#include <functional>

#include <ATen/ops/allclose.h>

#include "alluvium/memory_bank/blend.h"
#include "kv/budget.h"
#include "kv/observer.h"
#include "support/pretend_gpu.h"
#include "tiny_model.h"

namespace alluvium::tests {
namespace {

// Made and asked there as on the CPU; the memories themselves lie in the CPU's memory.
void check_alike(const TinyModel& there, const TinyModel& on_cpu, const std::string& codec,
                 const CodecOptions& options) {
  const std::vector<Chunk> chunks = {chunk_of(10, 90), chunk_of(33, 20), chunk_of(70, 66)};
  const auto made = there.make(codec, options);
  const auto expected = on_cpu.make(codec, options);
  const Memories memories = compress(*made, chunks);
  const Memories references = compress(*expected, chunks);
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    CHECK(memories[i]->kept.counts == references[i]->kept.counts);
    if (references[i]->keys.defined()) {
      REQUIRE(memories[i]->keys.is_cpu());
      CHECK(at::allclose(memories[i]->keys, references[i]->keys, 1e-3, 1e-3));
    }
  }
  const at::Tensor logits = there.ask(made->to_prefix(std::span(memories).first(1), 8));
  CHECK(difference(logits.cpu(),
                   on_cpu.ask(expected->to_prefix(std::span(references).first(1), 8))) < 5e-3);
}

}  // namespace

TEST_CASE(
    "kv: on a pretended GPU every observer and budget gives the memories and logits of the CPU",
    "[memory_bank][kv][pretend]") {
  const TinyModel on_cpu;
  const TinyModel there(TinyLlama::kLayers, pretend_gpu());
  CodecOptions options;
  options.keep = 0.4;
  options.observer = GENERATE(from_range(memory_bank::observer_names()));
  options.budget = GENERATE("global", "uniform", "d2o");
  CAPTURE(options.observer, options.budget);
  check_alike(there, on_cpu, "kv", options);
}

TEST_CASE("kv: on a pretended GPU every part of the codec does", "[memory_bank][kv][pretend]") {
  const TinyModel on_cpu;
  const TinyModel there(TinyLlama::kLayers, pretend_gpu());
  CodecOptions options;
  SECTION("as it is read") {}
  SECTION("text") {
    check_alike(there, on_cpu, "text", options);
    return;
  }
  SECTION("presets") { options.preset = GENERATE("lossless", "safe", "default"); }
  SECTION("evicted rows merged") {
    options.keep = 0.4;
    options.merge = GENERATE("values", "neighbours", "d2o", "ems", "compensation");
  }
  SECTION("evicted rows in few bits") {
    options.preset = "default";
    options.tail_bits = 2;
  }
  SECTION("fewer key channels") { options.key_channels = 0.5; }
  check_alike(there, on_cpu, "kv", options);
}

TEST_CASE("kv: on a pretended GPU sequences are blended and reused as on the CPU",
          "[memory_bank][kv][pretend]") {
  const auto ask_all = [](const TinyModel& model) {
    const auto codec = model.make("kv");
    const Memories memories = compress(*codec, {chunk_of(10, 20), chunk_of(50, 7)});
    const std::vector<int64_t> chunks = {1, 2};
    memory_bank::MemoryCache variants(std::size_t{1} << 30);
    std::vector<at::Tensor> logits = {
        model.ask(memory_bank::start_blended(*model.decoder, *codec, memories, 8, 0.4).cache)};
    for (int round = 0; round < 2; ++round) {
      auto reused =
          memory_bank::start_reused(*model.decoder, *codec, memories, chunks, 8, 1, variants);
      CHECK(reused.recomputed == (round == 0 ? 20 : 0));
      logits.push_back(model.ask(std::move(reused.cache)));
    }
    return logits;
  };
  const auto expected = ask_all(TinyModel(4));
  const auto there = ask_all(TinyModel(4, pretend_gpu()));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CHECK(difference(there[i].cpu(), expected[i]) < 5e-3);
  }
}

}  // namespace alluvium::tests
