#include "row_kernels_cuda.h"

#include <atomic>
#include <dlfcn.h>

namespace alluvium::backbone {
namespace {

std::atomic<const CudaRowKernels*> loaded = nullptr;

}  // namespace

const CudaRowKernels* cuda_row_kernels() { return loaded.load(std::memory_order_acquire); }

void load_cuda_row_kernels() {
  void* library = dlopen("liballuvium_cuda.so", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return;  // built without nvcc: ATen does the work
  }
  using Getter = const CudaRowKernels* (*)();
  const auto get = reinterpret_cast<Getter>(dlsym(library, kCudaRowKernelsSymbol));
  loaded.store(get == nullptr ? nullptr : get(), std::memory_order_release);
}

}  // namespace alluvium::backbone
