#include "worker/collective/nccl/nccl_calls.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "common/base/error.h"

namespace trireme::worker::collective {
namespace {

constexpr auto kFinishWithin = std::chrono::seconds(5);

[[noreturn]] void refuse(ErrorKind kind, const char* call, const std::string& why) {
  throw Error(kind, std::string(call) + ": " + why);
}
// NCCL's own last words behind the code's: they tell a GPU without memory from one that is lost.
void accept(const char* call, ncclResult_t result) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  const bool ours = result == ncclInvalidArgument || result == ncclInvalidUsage;
  const char* last = ncclGetLastError(nullptr);
  refuse(ours ? ErrorKind::kInternal : ErrorKind::kTryAgain, call,
         ncclGetErrorString(result) + (last == nullptr || *last == 0 ? "" : ": " + std::string(last)));
}
void accept(const char* call, cudaError_t result) {
  if (result != cudaSuccess)
    refuse(ErrorKind::kTryAgain, call, "CUDA error: " + std::string(cudaGetErrorString(result)));
}

struct Event {
  Event() { accept("cudaEventCreate", cudaEventCreateWithFlags(&event, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(event); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t event = nullptr;
};

ncclDataType_t type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kLong:
      return ncclInt64;
    case at::kByte:
      return ncclUint8;
    default:
      throw Error(ErrorKind::kInternal, std::string("NCCL gets no ") + at::toString(tensor.scalar_type()));
  }
}
std::size_t count(const at::Tensor& tensor) {
  return static_cast<std::size_t>(tensor.numel());
}

class NcclCalls final : public StreamCalls {
 public:
  NcclCalls(const char* id, int rank, int size, int device)
      : device_(static_cast<c10::DeviceIndex>(device)),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device_)) {
    const c10::cuda::CUDAGuard guard(device_);
    ncclUniqueId unique;
    std::memcpy(unique.internal, id, kNcclIdBytes);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    accept("ncclCommInitRankConfig", ncclCommInitRankConfig(&communicator_, size, unique, rank, &config));
  }
  ~NcclCalls() override { abort(); }
  NcclCalls(const NcclCalls&) = delete;
  NcclCalls& operator=(const NcclCalls&) = delete;

  const char* name() const override { return "nccl"; }
  std::string describe() const override {
    int version = 0;
    ncclGetVersion(&version);
    return "NCCL " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
  }
  bool on_device(const at::Tensor& tensor) const override { return tensor.is_cuda(); }

  Mark open() override {
    const c10::cuda::CUDAGuard guard(device_);
    const auto ready = recorded(c10::cuda::getCurrentCUDAStream(device_));
    accept("cudaStreamWaitEvent", cudaStreamWaitEvent(stream_.stream(), of(ready), 0));
    accept("ncclGroupStart", ncclGroupStart());
    return ready;
  }
  void send(const at::Tensor& tensor, int peer) override {
    accept("ncclSend",
           ncclSend(tensor.data_ptr(), count(tensor), type_of(tensor), peer, communicator_, stream_));
  }
  void receive(const at::Tensor& tensor, int peer) override {
    accept("ncclRecv",
           ncclRecv(tensor.data_ptr(), count(tensor), type_of(tensor), peer, communicator_, stream_));
  }
  void all_gather(const at::Tensor& local, const at::Tensor& gathered) override {
    accept("ncclAllGather", ncclAllGather(local.data_ptr(), gathered.data_ptr(), count(local), type_of(local),
                                          communicator_, stream_));
  }
  void reduce_scatter_sum(const at::Tensor& full, const at::Tensor& part) override {
    accept("ncclReduceScatter", ncclReduceScatter(full.data_ptr(), part.data_ptr(), count(part),
                                                  type_of(full), ncclSum, communicator_, stream_));
  }
  void all_reduce_sum(const at::Tensor& tensor) override {
    accept("ncclAllReduce", ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), count(tensor),
                                          type_of(tensor), ncclSum, communicator_, stream_));
  }
  void broadcast(const at::Tensor& tensor, int root) override {
    accept("ncclBroadcast", ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), count(tensor),
                                          type_of(tensor), root, communicator_, stream_));
  }
  void close() override {
    const c10::cuda::CUDAGuard guard(device_);
    accept("ncclGroupEnd", ncclGroupEnd());
  }

  bool taken() override {
    if (communicator_ == nullptr) return true;
    ncclResult_t state = ncclSuccess;
    accept("ncclCommGetAsyncError", ncclCommGetAsyncError(communicator_, &state));
    accept("NCCL", state);
    return state == ncclSuccess;
  }
  Mark mark() override { return recorded(stream_); }
  void follow(const Mark& mark) override {
    const c10::cuda::CUDAGuard guard(device_);
    accept("cudaStreamWaitEvent",
           cudaStreamWaitEvent(c10::cuda::getCurrentCUDAStream(device_).stream(), of(mark), 0));
  }
  bool passed(const Mark& mark) override {
    const auto state = cudaEventQuery(of(mark));
    if (state == cudaErrorNotReady) return false;
    accept("CUDA", state);
    return true;
  }

  void abort() override {
    if (communicator_ != nullptr) ncclCommAbort(std::exchange(communicator_, nullptr));
  }
  void finish() override {
    if (communicator_ == nullptr) return;
    accept("ncclCommFinalize", ncclCommFinalize(communicator_));
    const auto until = std::chrono::steady_clock::now() + kFinishWithin;
    while (!taken()) {
      if (std::chrono::steady_clock::now() > until) return abort();
      std::this_thread::yield();
    }
    ncclCommDestroy(std::exchange(communicator_, nullptr));
  }

 private:
  static cudaEvent_t of(const Mark& mark) { return static_cast<Event*>(mark.get())->event; }
  // An event is of the device that is the thread's as it is made, and must be the stream's.
  Mark recorded(const c10::cuda::CUDAStream& stream) const {
    const c10::cuda::CUDAGuard guard(device_);
    auto event = std::make_shared<Event>();
    accept("cudaEventRecord", cudaEventRecord(event->event, stream.stream()));
    return event;
  }

  c10::DeviceIndex device_;
  c10::cuda::CUDAStream stream_;
  ncclComm_t communicator_ = nullptr;
};

}  // namespace

std::unique_ptr<StreamCalls> make_nccl_calls(const char id[kNcclIdBytes], int rank, int size, int device) {
  return std::make_unique<NcclCalls>(id, rank, size, device);
}

}  // namespace trireme::worker::collective
