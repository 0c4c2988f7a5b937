// The decoder on a device that is not the CPU, on machines without one: every tensor on the right side, no memory touched from the wrong one.
#include "support/pretend_gpu.h"

#include <ATen/ATen.h>

#include "alluvium/backbone/decoder.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::backbone {
namespace {

DevicePolicy pretended_policy() {
  DevicePolicy policy = reference_policy();
  policy.device = tests::pretend_gpu();
  return policy;
}

}  // namespace

TEST_CASE("pretended GPU: operands on two devices are refused", "[backbone][pretend]") {
  const at::Tensor there = at::ones({3}).to(tests::pretend_gpu());
  CHECK_THROWS(there + at::ones({3}));
  CHECK((there + there).cpu().equal(at::full({3}, 2.0)));
  CHECK((there * 3).sum().item<float>() == 9.0F);
  CHECK(there.narrow(0, 1, 2).clone().cpu().equal(at::ones({2})));
}

TEST_CASE("pretended GPU: the decoder gives the logits of the CPU, read whole and token by token",
          "[backbone][pretend]") {
  const tests::TemporaryDirectory directory;
  const auto checkpoint = open_checkpoint(tests::write_tiny_llama_gguf(directory.path(), 7));
  const auto on_cpu = load_decoder(*checkpoint, reference_policy());
  const auto there = load_decoder(*checkpoint, pretended_policy());
  const std::vector<TokenId> tokens = {0, 5, 17, 99, 42, 3, 64, 80};
  const auto read = [&](const Decoder& decoder, KvCache& cache, std::span<const TokenId> part) {
    const ReadRequest request{&cache, part, Logits::last, false, false};
    return decoder.read({&request, 1}).front().logits.cpu();
  };
  KvCache cpu_cache = on_cpu->start({}, 8);
  KvCache cache = there->start({}, 8);
  const at::Tensor expected = read(*on_cpu, cpu_cache, tokens);
  CHECK(at::allclose(read(*there, cache, tokens), expected, 1e-4, 1e-4));
  KvCache stepped = there->start({}, 8);
  at::Tensor last;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    last = read(*there, stepped, std::span(tokens).subspan(i, 1));
  }
  CHECK(at::allclose(last, expected, 1e-4, 1e-4));
}

}  // namespace alluvium::backbone
