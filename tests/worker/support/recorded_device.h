// A device without a device: tensors of device type PrivateUse1, named "recorded", whose memory is the host's
// and whose operations are the CPU's. What the host would have waited for, had it been a GPU, is counted: a
// number read, a copy that is not in flight out of or into pinned memory, an operation whose result's size is
// only known there. Waits for events are counted apart. It is registered as the program begins.
#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace trireme::worker::recorded {

struct Waits {
  std::mutex mutex;
  std::vector<std::string> host;  // what the host waited for
  std::string points;  // events of streams, in order: 'r' recorded, 'b' another stream is behind one
  std::atomic<int> events{0};
  std::atomic<std::int64_t> operations{0};  // that were started there: kernels and copies, no views

  void add(const std::string& what) {
    const std::lock_guard lock(mutex);
    host.push_back(what);
  }
  std::vector<std::string> take() {
    const std::lock_guard lock(mutex);
    return std::exchange(host, {});
  }
  void point(char kind) {
    const std::lock_guard lock(mutex);
    points += kind;
  }
  std::string take_points() {
    const std::lock_guard lock(mutex);
    return std::exchange(points, {});
  }
};
inline Waits& waits() {
  static Waits all;
  return all;
}

// What a broken one does.
struct Faults {
  std::atomic<bool> no_memory{false}, wrong_copies{false}, wrong_products{false};
};
inline Faults& faults() {
  static Faults all;
  return all;
}

inline at::Device device() {
  return at::Device(at::kPrivateUse1, 0);
}

class PinnedMemory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t size) override {
    void* const memory = std::malloc(std::max<std::size_t>(size, 64));
    const std::lock_guard lock(mutex());
    blocks()[memory] = std::max<std::size_t>(size, 64);
    return {memory, memory, &release, at::kCPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t size) const override {
    default_copy_data(to, from, size);
  }
  static bool holds(const void* place) {
    const std::lock_guard lock(mutex());
    auto block = blocks().upper_bound(place);
    if (block == blocks().begin()) return false;
    --block;
    return static_cast<const char*>(place) < static_cast<const char*>(block->first) + block->second;
  }

 private:
  static void release(void* memory) {
    {
      const std::lock_guard lock(mutex());
      blocks().erase(memory);
    }
    std::free(memory);
  }
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  static std::map<const void*, std::size_t>& blocks() {
    static std::map<const void*, std::size_t> all;
    return all;
  }
};

// What it says of its memory.
constexpr std::size_t kBytes = std::size_t{1} << 30, kPeakBytes = 12345678;

class DeviceMemory final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(std::size_t size) override {
    void* memory = nullptr;
    if (faults().no_memory)
      TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate");
    if (::posix_memalign(&memory, 64, std::max<std::size_t>(size, 64)) != 0) throw std::bad_alloc();
    held().take(memory, size);
    return {memory, memory, &release, device()};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t size) const override {
    default_copy_data(to, from, size);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex) override {
    c10::CachingDeviceAllocator::DeviceStats stats;
    stats.allocated_bytes[0].peak = kPeakBytes;
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex) override {}
  std::pair<std::size_t, std::size_t> getMemoryInfo(c10::DeviceIndex) override {
    return {of_thread(), of_thread()};
  }
  // What it says to the threads of one worker, where GPUs are of different kinds.
  static std::size_t& of_thread() {
    static thread_local std::size_t bytes = kBytes;
    return bytes;
  }

  // Bytes that were asked for by name (at::empty and what is made of it): what operations give is the CPU's.
  class Held {
   public:
    void take(void* memory, std::size_t size) {
      const std::lock_guard lock(mutex_);
      sizes_[memory] = size;
      now_ += size;
      most_ = std::max(most_, now_);
    }
    void give(void* memory) {
      const std::lock_guard lock(mutex_);
      const auto found = sizes_.find(memory);
      now_ -= found->second;
      sizes_.erase(found);
    }
    std::size_t most_since(const std::function<void()>& body) {
      std::size_t before = 0;
      {
        const std::lock_guard lock(mutex_);
        most_ = before = now_;
      }
      body();
      const std::lock_guard lock(mutex_);
      return most_ - before;
    }

   private:
    std::mutex mutex_;
    std::unordered_map<void*, std::size_t> sizes_;
    std::size_t now_ = 0, most_ = 0;
  };
  static Held& held() {
    static Held all;
    return all;
  }

 private:
  static void release(void* memory) {
    held().give(memory);
    std::free(memory);
  }
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  Guard() = default;
  explicit Guard(c10::DeviceType) {}
  c10::DeviceType type() const override { return at::kPrivateUse1; }
  c10::Device exchangeDevice(c10::Device) const override { return device(); }
  c10::Device getDevice() const override { return device(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const override { return c10::Stream(c10::Stream::DEFAULT, device()); }
  c10::Stream getDefaultStream(c10::Device) const override {
    return c10::Stream(c10::Stream::DEFAULT, device());
  }
  c10::Stream getStreamFromGlobalPool(c10::Device, bool) const override {
    return c10::Stream(c10::Stream::DEFAULT, device());
  }
  c10::Stream exchangeStream(c10::Stream) const override {
    return c10::Stream(c10::Stream::DEFAULT, device());
  }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {
    waits().point('r');
  }
  void block(void*, const c10::Stream&) const override { waits().point('b'); }
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override { ++waits().events; }
  void synchronizeStream(const c10::Stream&) const override { waits().add("synchronizeStream"); }
  void synchronizeDevice(const c10::DeviceIndex) const override { waits().add("synchronizeDevice"); }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  bool isPinnedPtr(const void* data) const override { return PinnedMemory::holds(data); }
  c10::Allocator* getPinnedMemoryAllocator() const override {
    static PinnedMemory memory;
    return &memory;
  }
  at::Device getDeviceFromPtr(void*) const override { return device(); }
  // at::manual_seed asks every device for one.
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
};

// The same memory seen from the other side; `held` lives as long.
inline at::Tensor seen_on(const at::Tensor& tensor, const at::Device& where) {
  return at::for_blob(tensor.data_ptr(), tensor.sizes())
      .strides(tensor.strides())
      .deleter([held = tensor](void*) {})
      .options(tensor.options().device(where).pinned_memory(false).requires_grad(false))
      .target_device(where)
      .make_tensor();
}
inline at::Tensor on_cpu(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().is_privateuseone() ? seen_on(tensor, at::kCPU) : tensor;
}

inline at::Tensor empty(c10::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                        std::optional<at::Device>, std::optional<bool>,
                        std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, c10::GetAllocator(at::kPrivateUse1),
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   dtype.value_or(at::kFloat), format);
}
inline at::Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride,
                                std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
                                std::optional<at::Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, c10::GetAllocator(at::kPrivateUse1),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           dtype.value_or(at::kFloat));
}
inline at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  ++waits().operations;
  const at::Tensor& on_host = from.is_cpu() ? from : to;
  if (from.is_cpu() != to.is_cpu() && !(non_blocking && PinnedMemory::holds(on_host.data_ptr())))
    waits().add(from.is_cpu() ? "copy to the device" : "copy to the host");
  on_cpu(to).copy_(on_cpu(from));
  if (faults().wrong_copies && to.is_cpu() && to.numel() > 0) to.view(-1)[0].add_(1);
  return to;
}
inline at::Scalar number_of(const at::Tensor& tensor) {
  waits().add("a number");
  return on_cpu(tensor).item();
}

// Attention out of other operations, as where there is no kernel of its own.
inline std::int64_t attention_of(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                 const std::optional<at::Tensor>&, double, bool, std::optional<double>,
                                 bool) {
  return 0;
}

// `tensor`, whoever holds it, has the memory and the shape of `of`, on this device.
inline void take_place(const at::Tensor& tensor, const at::Tensor& of) {
  const at::Tensor there = seen_on(of, device());
  c10::TensorImpl* const impl = tensor.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(there.storage());
  impl->set_sizes_and_strides(there.sizes(), there.strides());
  if (!tensor.device().is_privateuseone() || !impl->key_set().has(c10::DispatchKey::PrivateUse1))
    impl->_change_backend_component_keys(device());
}

// Every other operation: the CPU's, on the same memory.
inline void on_the_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  static const std::set<std::string> looks{
      "aten::nonzero",  "aten::masked_select", "aten::equal",      "aten::is_nonzero",
      "aten::_unique2", "aten::index.Tensor",  "aten::unique_dim", "aten::repeat_interleave.Tensor"};
  // As on a GPU: but for single numbers and these, what lies on the host meets nothing that lies there.
  static const std::set<std::string> takes_indices_of_the_host{"aten::index.Tensor", "aten::index_put_",
                                                               "aten::_index_put_impl_"};
  const auto& name = op.schema().operator_name();
  const std::string whole = name.name + (name.overload_name.empty() ? "" : "." + name.overload_name);
  if (looks.count(whole) != 0) waits().add(whole);
  ++waits().operations;
  std::unordered_map<c10::TensorImpl*, std::pair<at::Tensor, at::Tensor>> originals;  // seen here, there
  const auto there = [&](const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    if (!tensor.device().is_privateuseone()) {
      TORCH_CHECK(tensor.dim() == 0 || takes_indices_of_the_host.count(whole) != 0,
                  "Expected all tensors to be on the same device: ", whole);
      return tensor;
    }
    // What an operation makes room for itself must be able to grow.
    const at::Tensor seen =
        tensor.numel() == 0 ? at::empty(tensor.sizes(), tensor.options().device(at::kCPU)) : on_cpu(tensor);
    originals[seen.unsafeGetTensorImpl()] = {seen, tensor};
    return seen;
  };
  const auto begin = stack->size() - op.schema().arguments().size();
  for (auto i = begin; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      value = there(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> list;
      for (const at::Tensor& one : value.toTensorVector()) list.push_back(there(one));
      value = c10::List<at::Tensor>(list);
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor>& one : value.toOptionalTensorList())
        list.push_back(one ? std::optional<at::Tensor>(there(*one)) : std::nullopt);
      value = list;
    } else if (value.isDevice()) {
      value = at::Device(at::kCPU);
    }
  }
  op.callBoxed(stack);
  if (faults().wrong_products && whole.starts_with("aten::mm")) stack->back().toTensor().add_(1);
  for (const auto& [impl, both] : originals)
    if (both.second.numel() == 0 && both.first.numel() > 0) take_place(both.second, both.first);
  const auto back = [&](const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    const auto original = originals.find(tensor.unsafeGetTensorImpl());
    return original != originals.end() ? original->second.second : seen_on(tensor, device());
  };
  for (auto i = stack->size() - op.schema().returns().size(); i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      value = back(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> list;
      for (const at::Tensor& one : value.toTensorVector()) list.push_back(back(one));
      value = c10::List<at::Tensor>(list);
    }
  }
}

// As the program begins: autograd starts its threads with its first pass back, one for every device there is.
inline bool register_device() {
  static const bool done = [] {
    static DeviceMemory memory;
    static Guard guard;
    c10::register_privateuse1_backend("recorded");
    c10::SetAllocator(at::kPrivateUse1, &memory, 1);
    c10::impl::device_guard_impl_registry[static_cast<std::size_t>(at::kPrivateUse1)].store(&guard);
    at::RegisterPrivateUse1HooksInterface(new Hooks);
    return true;
  }();
  return done;
}
inline const bool registered = register_device();

inline at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                              at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                              at::IntArrayRef output_padding, std::int64_t groups) {
  ++waits().operations;
  const auto added = bias ? std::optional<at::Tensor>(on_cpu(*bias)) : std::nullopt;
  return seen_on(at::convolution(on_cpu(input), on_cpu(weight), added, stride, padding, dilation, transposed,
                                 output_padding, groups),
                 device());
}
inline std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& slope, const at::Tensor& input, const at::Tensor& weight, at::IntArrayRef stride,
    at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed, at::IntArrayRef output_padding,
    std::int64_t groups, std::array<bool, 3> wanted) {
  waits().operations += 2;  // one per slope
  const auto [input_slope, weight_slope, bias_slope] =
      at::convolution_backward(on_cpu(slope), on_cpu(input), on_cpu(weight), std::nullopt, stride, padding,
                               dilation, transposed, output_padding, groups, wanted);
  const auto there = [](const at::Tensor& one) { return one.defined() ? seen_on(one, device()) : one; };
  return {there(input_slope), there(weight_slope), there(bias_slope)};
}

// bfloat16 rows, their products summed and kept in float32.
inline at::Tensor product_as(const at::Tensor& a, const at::Tensor& b, at::ScalarType type) {
  ++waits().operations;
  const at::Tensor product = at::empty({a.size(0), b.size(1)}, a.options().dtype(type));
  at::Tensor on_host = on_cpu(product);
  at::mm_out(on_host, on_cpu(a).to(type), on_cpu(b).to(type));
  return product;
}

inline bool register_operations() {
  static torch::Library every(torch::Library::IMPL, "_", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
  static torch::Library aten(torch::Library::IMPL, "aten", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__);
  every.fallback(torch::CppFunction::makeFromBoxedFunction<&on_the_host>());
  aten.impl("empty.memory_format", &empty);
  aten.impl("empty_strided", &empty_strided);
  aten.impl("as_strided", &at::native::as_strided_tensorimpl);
  aten.impl("view", &at::native::view);
  aten.impl("_reshape_alias", &at::native::_reshape_alias);
  aten.impl("_copy_from", &copy_from);
  aten.impl("_local_scalar_dense", &number_of);
  aten.impl("_fused_sdp_choice", &attention_of);
  aten.impl("mm.dtype", &product_as);
  aten.impl("convolution_overrideable", &convolution);
  aten.impl("convolution_backward_overrideable", &convolution_backward);
  aten.impl(
      "record_stream", +[](at::Tensor&, at::Stream) {});
  // Over many tensors at once, as on a GPU; elsewhere torch takes them one by one.
  for (const char* name : {"_foreach_norm.Scalar", "_foreach_mul_.Tensor", "_foreach_mul_.Scalar"})
    aten.impl(name, torch::CppFunction::makeFromBoxedFunction<&on_the_host>());
  // So that a tensor of the host moves here by set_data().
  aten.impl(
      "_has_compatible_shallow_copy_type", +[](const at::Tensor&, const at::Tensor&) { return true; });
  return true;
}
inline const bool operations_registered = register_operations();

}  // namespace trireme::worker::recorded
