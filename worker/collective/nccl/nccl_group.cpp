#include "worker/collective/nccl/nccl_group.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>
#include <thread>
#include <utility>

#include "common/base/error.h"
#include "worker/collective/pairwise_group.h"

namespace trireme::worker::collective {
namespace {

using std::chrono::steady_clock;
constexpr auto kSpin = std::chrono::microseconds(50);
constexpr auto kSleep = std::chrono::microseconds(20);

class NcclGroup final : public PairwiseGroup {
 public:
  NcclGroup(const char* id, int rank, int size, int device, GroupOptions options)
      : PairwiseGroup(rank, size),
        device_(static_cast<c10::DeviceIndex>(device)),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device_)),
        options_(std::move(options)) {
    const c10::cuda::CUDAGuard guard(device_);
    ncclUniqueId unique;
    std::memcpy(unique.internal, id, kNcclIdBytes);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    accept("ncclCommInitRankConfig", ncclCommInitRankConfig(&communicator_, size, unique, rank, &config));
    wait("ncclCommInitRankConfig", /*stream=*/false);
  }
  ~NcclGroup() override {
    if (communicator_ != nullptr) ncclCommAbort(communicator_);
  }
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  const char* backend() const override { return "nccl"; }

 private:
  // Tensors on the host pass through the device.
  class NcclFlight final : public Flight {
   public:
    NcclFlight(NcclGroup& group, std::vector<Parcel> receives, const char* operation)
        : group_(group), receives_(std::move(receives)), operation_(operation) {}
    bool poll() override { return landed_ || group_.arrived(operation_, /*stream=*/true); }
    void wait() override {
      if (landed_) return;
      const c10::cuda::CUDAGuard guard(group_.device_);
      group_.wait(operation_, /*stream=*/true);
      for (std::size_t i = 0; i < receives_.size(); ++i)
        if (!receives_[i].tensor.is_cuda()) receives_[i].tensor.copy_(staged[i]);
      landed_ = true;
    }

   private:
    NcclGroup& group_;
    std::vector<Parcel> receives_;
    const char* operation_;
    bool landed_ = false;

   public:
    std::vector<at::Tensor> staged;  // on the device: those received, then those sent
  };

 public:
  std::unique_ptr<Flight> start(const std::vector<Parcel>& sends, const std::vector<Parcel>& receives,
                                const char* operation) override {
    if (communicator_ == nullptr) throw Error(ErrorKind::kTryAgain, "the NCCL group has failed before");
    const c10::cuda::CUDAGuard guard(device_);
    // What was computed so far on the caller's stream comes first.
    cudaStreamSynchronize(c10::cuda::getCurrentCUDAStream(device_).stream());
    auto flight = std::make_unique<NcclFlight>(*this, receives, operation);
    auto& staged = flight->staged;
    const auto options = at::TensorOptions().device(at::kCUDA, device_);
    accept(operation, ncclGroupStart());
    for (const auto& [peer, tensor] : receives) {
      staged.push_back(tensor.is_cuda() ? tensor : at::empty_like(tensor, options));
      accept(operation,
             ncclRecv(staged.back().data_ptr(), tensor.nbytes(), ncclUint8, peer, communicator_, stream_));
    }
    for (const auto& [peer, tensor] : sends) {
      staged.push_back(tensor.is_cuda() ? tensor : tensor.to(options));
      accept(operation,
             ncclSend(staged.back().data_ptr(), tensor.nbytes(), ncclUint8, peer, communicator_, stream_));
    }
    accept(operation, ncclGroupEnd());
    return flight;
  }

 private:
  void accept(const char* operation, ncclResult_t result) {
    if (result != ncclSuccess && result != ncclInProgress) fail(operation, ncclGetErrorString(result));
  }

  bool arrived(const char* operation, bool stream) {
    ncclResult_t state = ncclSuccess;
    ncclCommGetAsyncError(communicator_, &state);
    if (state != ncclSuccess && state != ncclInProgress) fail(operation, ncclGetErrorString(state));
    const bool taken = state == ncclSuccess;
    const auto done = taken && stream ? cudaStreamQuery(stream_.stream()) : cudaSuccess;
    if (done != cudaSuccess && done != cudaErrorNotReady) fail(operation, cudaGetErrorString(done));
    return taken && done == cudaSuccess;
  }

  // Until the communicator has taken the call and, with `stream`, its work is done.
  void wait(const char* operation, bool stream) {
    const auto begin = steady_clock::now();
    for (;;) {
      if (arrived(operation, stream)) return;
      const auto waited = steady_clock::now() - begin;
      if (options_.stopped && options_.stopped()) fail(operation, "cancelled", ErrorKind::kCancelled);
      if (waited > options_.deadline)
        fail(operation, "a peer did not come within " + std::to_string(options_.deadline.count()) + " ms");
      if (waited > kSpin) std::this_thread::sleep_for(kSleep);
    }
  }

  [[noreturn]] void fail(const char* operation, const std::string& why,
                         ErrorKind kind = ErrorKind::kTryAgain) {
    if (communicator_ != nullptr) ncclCommAbort(std::exchange(communicator_, nullptr));
    throw Error(kind, std::string(operation) + " at rank " + std::to_string(rank()) +
                          " (cuda:" + std::to_string(device_) + "): " + why);
  }

  c10::DeviceIndex device_;
  c10::cuda::CUDAStream stream_;
  GroupOptions options_;
  ncclComm_t communicator_ = nullptr;
};

}  // namespace

std::unique_ptr<Group> make_nccl_group(const char id[kNcclIdBytes], int rank, int size, int device,
                                       const GroupOptions& options) {
  return std::make_unique<NcclGroup>(id, rank, size, device, options);
}

}  // namespace trireme::worker::collective
