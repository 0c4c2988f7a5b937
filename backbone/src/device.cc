#include "alluvium/backbone/device.h"

#include <dlfcn.h>
#include <filesystem>
#include <thread>

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include "alluvium/core/error.h"
#include "row_kernels_cuda.h"

namespace alluvium::backbone {
namespace {

// The CUDA side of torch registers itself when its library is loaded, so one program serves
// machines with and without a GPU. Returns what is missing, or an empty string.
std::string load_cuda() {
  static const std::string missing = [] {
    if (!std::filesystem::exists("/dev/nvidiactl")) {
      return std::string("no NVIDIA driver on this machine");
    }
    if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      return fmt::format("libtorch_cuda.so does not load: {}", dlerror());
    }
    if (!at::globalContext().hasCUDA() || at::detail::getCUDAHooks().deviceCount() == 0) {
      return std::string("torch finds no CUDA device");
    }
    load_cuda_row_kernels();
    return std::string();
  }();
  return missing;
}

// Processors with AMX have AVX512-BF16 too.
bool has_bf16_instructions() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

c10::Device pick_device(const std::string& word) {
  ALLUVIUM_CHECK(word == "auto" || word == "cpu" || word == "cuda",
                 "device must be auto, cpu or cuda, got '{}'", word);
  if (word == "cpu") {
    return c10::Device(c10::DeviceType::CPU);
  }
  const std::string missing = load_cuda();
  if (missing.empty()) {
    return c10::Device(c10::DeviceType::CUDA, 0);
  }
  if (word == "cuda") {
    throw Unavailable(fmt::format("device 'cuda' cannot be had: {}", missing));
  }
  return c10::Device(c10::DeviceType::CPU);
}

c10::ScalarType pick_dtype(const std::string& word, bool on_gpu) {
  ALLUVIUM_CHECK(word == "auto" || word == "f32" || word == "bf16",
                 "dtype must be auto, f32 or bf16, got '{}'", word);
  const bool bf16 = word == "bf16" || (word == "auto" && (on_gpu || has_bf16_instructions()));
  return bf16 ? c10::ScalarType::BFloat16 : c10::ScalarType::Float;
}

}  // namespace

DevicePolicy choose_device(const DeviceOptions& options) {
  ALLUVIUM_CHECK(
      options.decode == "auto" || options.decode == "blocks" || options.decode == "dtype",
      "decode must be auto, blocks or dtype, got '{}'", options.decode);
  ALLUVIUM_CHECK(options.threads >= 0 && options.threads <= 1024,
                 "threads must lie in [0, 1024], got {}", options.threads);
  DevicePolicy policy;
  policy.device = pick_device(options.device);
  policy.dtype = pick_dtype(options.dtype, policy.device.is_cuda());
  policy.block_decode = policy.device.is_cpu() && options.decode != "dtype";
  policy.threads =
      options.threads > 0 ? options.threads : int64_t{std::thread::hardware_concurrency()};
  at::set_num_threads(static_cast<int>(policy.threads));

  const bool bf16 = policy.dtype == c10::ScalarType::BFloat16;
  const char* why = options.dtype != "auto"   ? "as configured"
                    : policy.device.is_cuda() ? "a GPU"
                    : bf16                    ? "the processor multiplies bf16"
                                              : "the processor has no bf16 instructions";
  const char* steps = policy.block_decode             ? "the checkpoint's blocks"
                      : !policy.device.is_cuda()      ? "the compute dtype"
                      : cuda_row_kernels() != nullptr ? "the compute dtype, own kernels"
                                                      : "the compute dtype, torch's kernels";
  policy.reason = fmt::format("{} in {} ({}), {} threads, one-row steps on {}", policy.device.str(),
                              bf16 ? "bf16" : "f32", why, policy.threads, steps);
  return policy;
}

DevicePolicy reference_policy(int64_t threads) {
  DeviceOptions options;
  options.device = "cpu";
  options.dtype = "f32";
  options.decode = "dtype";
  options.threads = threads;
  return choose_device(options);
}

}  // namespace alluvium::backbone
