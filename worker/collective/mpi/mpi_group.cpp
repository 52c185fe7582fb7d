#include "worker/collective/mpi/mpi_group.h"

#include <ATen/ATen.h>
#include <sched.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "common/base/error.h"

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

class MpiGroup final : public Group {
 public:
  MpiGroup(MPI_Comm communicator, std::vector<int> members, int rank, int tag, GroupOptions options)
      : communicator_(communicator),
        members_(std::move(members)),
        rank_(rank),
        tag_(tag),
        options_(std::move(options)) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(members_.size()); }
  const char* backend() const override { return "mpi"; }

  at::Tensor all_gather(const at::Tensor& local) override {
    check(local);
    auto shape = local.sizes().vec();
    const auto rows = shape[0];
    shape[0] *= size();
    at::Tensor gathered = at::empty(shape, local.options());
    gathered.narrow(0, rank_ * rows, rows).copy_(local);
    auto pending = start();
    for (const int peer : peers()) {
      pending.receive(gathered.narrow(0, peer * rows, rows), world(peer));
      pending.send(local, world(peer));
    }
    finish(pending, "all_gather");
    return gathered;
  }

  // Reduce-scatter over equal pieces, then gather: every element is added in rank order by one rank.
  void all_reduce_sum(at::Tensor& tensor) override {
    check(tensor);
    const auto flat = tensor.view({-1});
    const auto each = (flat.numel() + size() - 1) / size();
    at::Tensor padded = flat;
    if (each * size() != flat.numel()) {
      padded = at::zeros({each * size()}, flat.options());
      padded.narrow(0, 0, flat.numel()).copy_(flat);
    }
    const at::Tensor all = all_gather(reduce_scatter_sum(padded));
    flat.copy_(all.narrow(0, 0, flat.numel()));
  }

  at::Tensor reduce_scatter_sum(const at::Tensor& full) override {
    check(full);
    const auto rows = full.size(0) / size();
    std::vector<at::Tensor> parts(members_.size());
    parts[static_cast<std::size_t>(rank_)] = full.narrow(0, rank_ * rows, rows);
    auto pending = start();
    for (const int peer : peers()) {
      auto& part = parts[static_cast<std::size_t>(peer)];
      part = at::empty_like(parts[static_cast<std::size_t>(rank_)]);
      pending.receive(part, world(peer));
      pending.send(full.narrow(0, peer * rows, rows), world(peer));
    }
    finish(pending, "reduce_scatter_sum");
    at::Tensor sum = parts[0].clone();
    for (std::size_t r = 1; r < parts.size(); ++r) sum.add_(parts[r]);
    return sum;
  }

  void broadcast(at::Tensor& tensor, int root) override {  // binomial tree
    check(tensor);
    const int shifted = (rank_ - root + size()) % size();
    int reach = 1;
    while (reach < size()) reach *= 2;
    for (reach /= 2; reach >= 1; reach /= 2) {
      auto pending = start();
      if (shifted % (2 * reach) == reach)
        pending.receive(tensor, world((shifted - reach + root) % size()));
      else if (shifted % (2 * reach) == 0 && shifted + reach < size())
        pending.send(tensor, world((shifted + reach + root) % size()));
      finish(pending, "broadcast");
    }
  }

  void exchange(int peer, const at::Tensor& out, at::Tensor& in) override {
    check(out);
    check(in);
    auto pending = start();
    pending.receive(in, world(peer));
    pending.send(out, world(peer));
    finish(pending, "exchange");
  }

  void barrier() override {  // dissemination
    const at::Tensor out = at::zeros({1}, at::kByte), in = at::zeros({1}, at::kByte);
    for (int reach = 1; reach < size(); reach *= 2) {
      auto pending = start();
      pending.receive(in, world((rank_ - reach + size()) % size()));
      pending.send(out, world((rank_ + reach) % size()));
      finish(pending, "barrier");
    }
  }

 private:
  static void check(const at::Tensor& tensor) {
    if (!tensor.is_contiguous() || !tensor.is_cpu())
      throw Error(ErrorKind::kInternal, "mpi collective: the tensor must be contiguous and on the CPU");
  }
  int world(int rank) const { return members_[static_cast<std::size_t>(rank)]; }
  Pending start() const { return {communicator_, tag_}; }

  // Everybody but this rank, nearest next rank first, so that not all send to rank 0 at once.
  std::vector<int> peers() const {
    std::vector<int> others;
    for (int i = 1; i < size(); ++i) others.push_back((rank_ + i) % size());
    return others;
  }

  void finish(Pending& pending, const char* operation) {
    const auto begin = steady_clock::now();
    while (!pending.done()) {
      const auto waited = steady_clock::now() - begin;
      if (waited < kSpin) continue;
      if (options_.stopped && options_.stopped())
        give_up(pending, ErrorKind::kCancelled, operation, " was cancelled");
      if (waited > options_.deadline)
        give_up(pending, ErrorKind::kTryAgain, operation,
                ": a peer did not come within " + std::to_string(options_.deadline.count()) + " ms");
      if (waited < kYield)
        sched_yield();
      else
        std::this_thread::sleep_for(kSleep);
    }
  }

  [[noreturn]] void give_up(Pending& pending, ErrorKind kind, const char* operation, const std::string& why) {
    pending.abandon();
    throw Error(kind, std::string(operation) + " at rank " + std::to_string(rank_) + why);
  }

  MPI_Comm communicator_;
  std::vector<int> members_;
  int rank_, tag_;
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
