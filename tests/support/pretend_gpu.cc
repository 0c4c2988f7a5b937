#include "support/pretend_gpu.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

namespace alluvium::tests {
namespace {

constexpr auto kType = c10::DeviceType::PrivateUse1;

// One file, seen twice: as addresses nobody may touch, which tensors hold, and as those the operators work at.
class Memory {
 public:
  Memory() {
    const int file = memfd_create("pretend_gpu", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, kBytes) != 0) {
      throw std::runtime_error("the pretended GPU gets no memory");
    }
    locked_ = map(file, PROT_NONE);
    open_ = map(file, PROT_READ | PROT_WRITE);
    close(file);
  }

  void* take(std::size_t bytes) {
    const std::size_t room = std::bit_ceil(std::max<std::size_t>(bytes, 64));
    const std::lock_guard lock(mutex_);
    std::vector<std::size_t>& free = free_[room];
    std::size_t offset = used_;
    if (free.empty()) {
      used_ += room;
      if (used_ > kBytes) {
        throw std::runtime_error("the pretended GPU is full");
      }
    } else {
      offset = free.back();
      free.pop_back();
    }
    taken_[offset] = room;
    return locked_ + offset;
  }

  void give_back(void* at) {
    const std::lock_guard lock(mutex_);
    const auto offset = static_cast<std::size_t>(static_cast<std::byte*>(at) - locked_);
    const auto found = taken_.find(offset);
    free_[found->second].push_back(offset);
    taken_.erase(found);
  }

  void* opened(const void* at) const {
    return open_ + (static_cast<const std::byte*>(at) - locked_);
  }

 private:
  // Of address space: pages come when they are written.
  static constexpr std::size_t kBytes = std::size_t{8} << 30;

  static std::byte* map(int file, int protection) {
    void* at = mmap(nullptr, kBytes, protection, MAP_SHARED | MAP_NORESERVE, file, 0);
    if (at == MAP_FAILED) {
      throw std::runtime_error("the pretended GPU gets no addresses");
    }
    return static_cast<std::byte*>(at);
  }

  std::byte* locked_;
  std::byte* open_;
  std::mutex mutex_;
  std::size_t used_ = 0;
  std::map<std::size_t, std::vector<std::size_t>> free_;
  std::map<std::size_t, std::size_t> taken_;
};

Memory& memory() {
  static auto* const memory = new Memory;  // outlives every tensor
  return *memory;
}

class PretendAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* at = memory().take(bytes);
    return {at, at, [](void* p) { memory().give_back(p); }, c10::Device(kType, 0)};
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(memory().opened(to), memory().opened(from), bytes);
  }
};

PretendAllocator& allocator() {
  static auto* const allocator = new PretendAllocator;
  return *allocator;
}

bool is_pretended(const at::Tensor& t) { return t.device().type() == kType; }

// The same elements as a CPU tensor.
at::Tensor opened(const at::Tensor& t) {
  if (!is_pretended(t)) {
    return t;
  }
  const at::TensorOptions options(t.scalar_type());
  return t.numel() == 0
             ? at::empty(t.sizes(), options)  // an operator may make it larger
             : at::from_blob(memory().opened(t.const_data_ptr()), t.sizes(), t.strides(), options);
}

at::Tensor make_there(at::IntArrayRef size, at::ScalarType dtype,
                      std::optional<at::MemoryFormat> format = {}) {
  return at::detail::empty_generic(
      size, &allocator(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), dtype, format);
}

at::Tensor make_empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                      std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                      std::optional<at::MemoryFormat> format) {
  return make_there(size, c10::dtype_or_default(dtype), format);
}

at::Tensor make_empty_strided(at::IntArrayRef size, at::IntArrayRef stride,
                              std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                              std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &allocator(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           c10::dtype_or_default(dtype));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  opened(to).copy_(opened(from));
  return to;
}

const at::Tensor& resize_in_place(const at::Tensor& t, at::IntArrayRef size,
                                  std::optional<at::MemoryFormat>) {
  const at::Tensor fresh = make_there(size, t.scalar_type());
  auto* impl = t.unsafeGetTensorImpl();
  if (fresh.nbytes() > t.storage().nbytes()) {
    impl->set_storage_keep_dtype(fresh.storage());
    impl->set_storage_offset(0);
  }
  impl->set_sizes_contiguous(size);
  return t;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  if (to.sizes() != from.sizes()) {
    resize_in_place(to, from.sizes(), {});
  }
  return copy_from(from, to, false);
}

at::Tensor as_strided(const at::Tensor& t, at::IntArrayRef size, at::IntArrayRef stride,
                      std::optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(t, size, stride, offset);
}

at::Scalar local_scalar(const at::Tensor& t) { return opened(t).item(); }

// An operator's call turned to the CPU: its operands there are these, opened.
class OpenedCall {
 public:
  explicit OpenedCall(std::string name) : name_(std::move(name)) {}

  void open(c10::IValue& value) {
    if (value.isTensor()) {
      value = open(value.toTensor());
    } else if (value.isTensorList()) {
      value = each(value, [&](const at::Tensor& t) { return open(t); });
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list = value.toOptionalTensorList().copy();
      for (std::size_t i = 0; i < list.size(); ++i) {
        if (list.get(i).has_value()) {
          list[i] = open(*list.get(i));
        }
      }
      value = list;
    } else if (value.isDevice()) {
      value = c10::Device(c10::DeviceType::CPU);
    }
  }

  // CUDA takes a CPU tensor beside its own only as a single number, or to index with.
  void check() const {
    if (on_cpu_ && name_ != "aten::index") {
      throw std::runtime_error(name_ + ": some operands are on the CPU, some on the pretended GPU");
    }
  }

  // Results that are operands stay what they were.
  void close(c10::IValue& value) const {
    if (value.isTensor() && value.toTensor().defined()) {
      value = close(value.toTensor());
    } else if (value.isTensorList()) {
      value = each(value, [&](const at::Tensor& t) { return close(t); });
    }
  }

 private:
  template <class Change>
  static c10::List<at::Tensor> each(const c10::IValue& value, Change change) {
    c10::List<at::Tensor> list = value.toTensorList().copy();
    for (std::size_t i = 0; i < list.size(); ++i) {
      list[i] = change(list.get(i));
    }
    return list;
  }

  at::Tensor open(const at::Tensor& t) {
    on_cpu_ |= t.defined() && t.device().is_cpu() && t.dim() > 0;
    if (!t.defined() || !is_pretended(t)) {
      return t;
    }
    operands_.emplace_back(t, opened(t));
    return operands_.back().second;
  }

  at::Tensor close(const at::Tensor& t) const {
    for (const auto& [original, open] : operands_) {
      if (open.is_same(t)) {
        return open.sizes() == original.sizes() ? original : copy_from_and_resize(open, original);
      }
    }
    return copy_from(t, make_there(t.sizes(), t.scalar_type()), false);
  }

  std::string name_;
  std::vector<std::pair<at::Tensor, at::Tensor>> operands_;
  bool on_cpu_ = false;
};

void compute_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  OpenedCall call(op.schema().name());
  for (std::size_t i = stack->size() - op.schema().arguments().size(); i < stack->size(); ++i) {
    call.open((*stack)[i]);
  }
  call.check();
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  for (std::size_t i = stack->size() - op.schema().returns().size(); i < stack->size(); ++i) {
    call.close((*stack)[i]);
  }
}

// One device with one stream, on which everything is done when it is asked for.
struct Guard final : c10::impl::NoOpDeviceGuardImpl<kType> {
  c10::Device exchangeDevice(c10::Device) const override { return {kType, 0}; }
  c10::Device getDevice() const override { return {kType, 0}; }
  c10::Stream getStream(c10::Device) const noexcept override { return stream(); }
  c10::Stream getNewStream(c10::Device, int) const override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return stream(); }
  void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override {}

 private:
  static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, c10::Device(kType, 0)); }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
  c10::DeviceIndex deviceCount() const override { return 1; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
};

}  // namespace

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &make_empty);
  library.impl("empty_strided", &make_empty_strided);
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("resize_", &resize_in_place);
  library.impl("as_strided", &as_strided);
  library.impl("view", &at::native::view);
  library.impl("_reshape_alias", &at::native::_reshape_alias);
  library.impl("_local_scalar_dense", &local_scalar);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&compute_on_cpu>());
}

c10::Device pretend_gpu() {
  static const bool known = [] {
    c10::register_privateuse1_backend("pretend_gpu");
    c10::SetAllocator(kType, &allocator());
    at::RegisterPrivateUse1HooksInterface(new Hooks);  // torch keeps it
    return true;
  }();
  static_cast<void>(known);
  return {kType, 0};
}

}  // namespace alluvium::tests
