#include "worker/collective/mpi/mpi_group.h"

#include <ATen/ATen.h>
#include <sched.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "common/base/error.h"
#include "worker/collective/pairwise_group.h"

namespace trireme::worker::collective {
namespace {

using std::chrono::steady_clock;
constexpr std::size_t kMessageBytes = std::size_t{256} << 20;  // MPI counts are int
constexpr std::uint64_t kTags = 32000;                         // MPI guarantees 32767
constexpr auto kSpin = std::chrono::microseconds(30);
constexpr auto kYield = std::chrono::milliseconds(2);
constexpr auto kSleep = std::chrono::microseconds(100);

// Non-blocking calls under way and the tensors they read and write.
class Pending {
 public:
  Pending(MPI_Comm communicator, int tag) : communicator_(communicator), tag_(tag) {}

  void send(const at::Tensor& tensor, int to) {
    keep_.push_back(tensor);
    auto* bytes = static_cast<char*>(tensor.data_ptr());
    pieces(tensor.nbytes(), [&](std::size_t at, int count) {
      MPI_Isend(bytes + at, count, MPI_BYTE, to, tag_, communicator_, add());
    });
  }
  void receive(const at::Tensor& tensor, int from) {
    keep_.push_back(tensor);
    auto* bytes = static_cast<char*>(tensor.data_ptr());
    pieces(tensor.nbytes(), [&](std::size_t at, int count) {
      MPI_Irecv(bytes + at, count, MPI_BYTE, from, tag_, communicator_, add());
    });
  }

  bool done() {
    int flag = 0;
    MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &flag, MPI_STATUSES_IGNORE);
    return flag != 0;
  }

  // MPI may still write into the buffers of a call that never ended, so they are never freed.
  void abandon() {
    for (auto& request : requests_)
      if (request != MPI_REQUEST_NULL) MPI_Cancel(&request);
    static_cast<void>(new std::vector<at::Tensor>(std::move(keep_)));  // NOLINT: leaked on purpose
    static_cast<void>(new std::vector<MPI_Request>(std::move(requests_)));
  }

 private:
  template <class Call>
  void pieces(std::size_t bytes, Call call) {
    for (std::size_t at = 0; at < bytes; at += kMessageBytes)
      call(at, static_cast<int>(std::min(kMessageBytes, bytes - at)));
  }
  MPI_Request* add() {
    requests_.push_back(MPI_REQUEST_NULL);
    return &requests_.back();
  }

  MPI_Comm communicator_;
  int tag_;
  std::vector<MPI_Request> requests_;
  std::vector<at::Tensor> keep_;
};

class MpiGroup final : public PairwiseGroup {
 public:
  MpiGroup(MPI_Comm communicator, const std::vector<int>& members, int rank, int tag, GroupOptions options)
      : PairwiseGroup(rank, static_cast<int>(members.size())),
        communicator_(communicator),
        members_(members),
        tag_(tag),
        options_(std::move(options)) {}

  const char* backend() const override { return "mpi"; }

  std::unique_ptr<Flight> start(const std::vector<Parcel>& sends, const std::vector<Parcel>& receives,
                                const char* operation) override {
    auto flight = std::make_unique<MpiFlight>(*this, operation);
    for (const auto& [peer, tensor] : receives) flight->pending.receive(on_host(tensor), world(peer));
    for (const auto& [peer, tensor] : sends) flight->pending.send(on_host(tensor), world(peer));
    return flight;
  }

 private:
  class MpiFlight final : public Flight {
   public:
    MpiFlight(MpiGroup& group, const char* operation)
        : group_(group), operation_(operation), pending(group.communicator_, group.tag_) {}
    ~MpiFlight() override {
      if (!landed_) pending.abandon();
    }
    bool poll() override { return landed_ = landed_ || pending.done(); }
    void wait() override {
      if (!landed_) group_.finish(*this, operation_);
    }

   private:
    MpiGroup& group_;
    const char* operation_;
    bool landed_ = false;

   public:
    Pending pending;
  };

  static const at::Tensor& on_host(const at::Tensor& tensor) {
    if (!tensor.is_cpu()) throw Error(ErrorKind::kInternal, "mpi collectives take tensors on the CPU");
    return tensor;
  }
  int world(int rank) const { return members_[static_cast<std::size_t>(rank)]; }

  void finish(Flight& flight, const char* operation) {
    const auto begin = steady_clock::now();
    while (!flight.poll()) {
      const auto waited = steady_clock::now() - begin;
      if (waited < kSpin) continue;
      if (options_.stopped && options_.stopped()) give_up(ErrorKind::kCancelled, operation, "cancelled");
      if (waited > options_.deadline)
        give_up(ErrorKind::kTryAgain, operation,
                "a peer did not come within " + std::to_string(options_.deadline.count()) + " ms");
      if (waited < kYield)
        sched_yield();
      else
        std::this_thread::sleep_for(kSleep);
    }
  }

  [[noreturn]] void give_up(ErrorKind kind, const char* operation, const std::string& why) {
    std::string what = operation;
    what.append(" at rank ").append(std::to_string(rank())).append(": ").append(why);
    throw Error(kind, what);
  }

  MPI_Comm communicator_;
  std::vector<int> members_;
  int tag_;
  GroupOptions options_;
};

}  // namespace

std::unique_ptr<Group> make_mpi_group(MPI_Comm communicator, const std::vector<int>& members,
                                      std::uint64_t generation, const GroupOptions& options) {
  int own = 0;
  MPI_Comm_rank(communicator, &own);
  const auto place = std::find(members.begin(), members.end(), own);
  if (place == members.end())
    throw Error(ErrorKind::kInternal, "rank " + std::to_string(own) + " is not a member of the gang");
  return std::make_unique<MpiGroup>(communicator, members, static_cast<int>(place - members.begin()),
                                    static_cast<int>(generation % kTags), options);
}

}  // namespace trireme::worker::collective
