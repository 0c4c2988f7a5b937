// What can be shown of the CUDA side. Without a GPU: that the kernel library is found and fails with words. With one: that it
// computes what the CPU computes.
#include <filesystem>

#include <ATen/ATen.h>

#include "alluvium/backbone/decoder.h"
#include "alluvium/core/error.h"
#include "row_kernels_cuda.h"
#include "row_ops.h"
#include "support/catch.h"
#include "support/paths.h"
#include "support/synthetic_checkpoint.h"

namespace alluvium::backbone {
namespace {

// The policy of the GPU in float32, or nothing, said aloud, on a machine without one.
std::optional<DevicePolicy> gpu_policy() {
  DeviceOptions options;
  options.device = "cuda";
  options.dtype = "f32";
  try {
    return choose_device(options);
  } catch (const Unavailable& error) {
    WARN("skipped: " << error.what());
    return std::nullopt;
  }
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.cpu().to(at::kDouble) - b.cpu().to(at::kDouble)).abs().max().item<double>();
}

}  // namespace

TEST_CASE("cuda: the kernel library loads anywhere and says when there is no GPU",
          "[backbone][cuda]") {
  load_cuda_row_kernels();
  const CudaRowKernels* kernels = cuda_row_kernels();
  if (kernels == nullptr) {
    WARN("skipped: built without nvcc");
    return;
  }
  if (std::filesystem::exists("/dev/nvidiactl")) {
    return;
  }
  const char* error = kernels->add(nullptr, 1, CudaElement::f32, nullptr);
  REQUIRE(error != nullptr);
  CHECK(std::string(error).size() > 5);
  CHECK(kernels->add(nullptr, 0, CudaElement::f32, nullptr) == nullptr);
}

TEST_CASE("cuda: row operations equal those of the CPU", "[backbone][cuda]") {
  if (!gpu_policy()) {
    return;
  }
  const auto dtype = GENERATE(at::kFloat, at::kBFloat16);
  const double tolerance = dtype == at::kFloat ? 1e-5 : 4e-2;
  const at::Tensor x = at::randn({37, 576});
  const at::Tensor weight = at::randn({576});
  CHECK(largest_difference(rms_norm(x.cuda(), weight.cuda(), 1e-5, dtype),
                           rms_norm(x, weight, 1e-5, dtype)) < tolerance);
  const at::Tensor gate_up = at::randn({37, 384}).to(dtype);
  CHECK(largest_difference(swiglu(gate_up.cuda()), swiglu(gate_up)) < tolerance);
  const at::Tensor y = at::randn({37, 576}).to(dtype);
  at::Tensor sum = x.clone();
  at::Tensor sum_on_gpu = x.cuda();
  add_(sum, y);
  add_(sum_on_gpu, y.cuda());
  CHECK(largest_difference(sum_on_gpu, sum) < 1e-6);

  const Rope rope(64, 1e5, 256);
  const Rope rope_on_gpu(64, 1e5, 256, at::Device(at::kCUDA, 0));
  const at::Tensor states = at::randn({37, 3, 64}).to(dtype);
  for (const HeadOrder order : {HeadOrder::heads_first, HeadOrder::rows_first}) {
    const at::Tensor out = order == HeadOrder::heads_first
                               ? at::empty({3, 37, 64}, states.options())
                               : at::empty({37, 3, 64}, states.options());
    const at::Tensor out_on_gpu = out.cuda();
    rotate_into_(out, states, rope, 100, order);
    rotate_into_(out_on_gpu, states.cuda(), rope_on_gpu, 100, order);
    CHECK(largest_difference(out_on_gpu, out) < tolerance);
  }
  const at::Tensor keys = at::randn({3, 37, 64}).to(dtype);
  const at::Tensor positions = at::randint(0, 256, {37}, at::kLong);
  const at::Tensor out = at::empty_like(keys);
  const at::Tensor out_on_gpu = out.cuda();
  rotate_keys_into_(out, keys, rope, positions);
  rotate_keys_into_(out_on_gpu, keys.cuda(), rope_on_gpu, positions);
  CHECK(largest_difference(out_on_gpu, out) < tolerance);
}

TEST_CASE("cuda: the decoder gives the logits of the CPU, read whole and token by token",
          "[backbone][cuda]") {
  const auto policy = gpu_policy();
  if (!policy) {
    return;
  }
  const tests::TemporaryDirectory directory;
  const auto checkpoint = open_checkpoint(tests::write_tiny_llama_gguf(directory.path(), 7));
  const auto on_cpu = load_decoder(*checkpoint, reference_policy());
  const auto on_gpu = load_decoder(*checkpoint, *policy);
  const std::vector<TokenId> tokens = {0, 5, 17, 99, 42, 3, 64, 80};
  const auto read = [&](const Decoder& decoder, KvCache& cache, std::span<const TokenId> part) {
    const ReadRequest request{&cache, part, Logits::last, false, false};
    return decoder.read({&request, 1}).front().logits;
  };
  KvCache cpu_cache = on_cpu->start({}, 8);
  KvCache gpu_cache = on_gpu->start({}, 8);
  const at::Tensor expected = read(*on_cpu, cpu_cache, tokens);
  CHECK(largest_difference(read(*on_gpu, gpu_cache, tokens), expected) < 1e-4);
  KvCache stepped = on_gpu->start({}, 8);
  at::Tensor last;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    last = read(*on_gpu, stepped, std::span(tokens).subspan(i, 1));
  }
  CHECK(largest_difference(last, expected) < 1e-4);
}

}  // namespace alluvium::backbone
