#include "worker/collective/local/local_group.h"

#include <ATen/ATen.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "common/base/error.h"

namespace trireme::worker::collective {
namespace {

using std::chrono::steady_clock;
constexpr auto kPollEvery = std::chrono::milliseconds(5);

struct Shared {
  explicit Shared(int size) : published(static_cast<std::size_t>(size)) {}
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<at::Tensor> published;  // what each rank shows in the operation under way
  int arrived = 0;
  std::uint64_t meetings = 0;
  std::map<std::pair<int, int>, std::deque<at::Tensor>> mail;  // (from, to)
  int spoiled_by = -1;
};

class LocalGroup final : public Group {
 public:
  LocalGroup(std::shared_ptr<Shared> shared, int rank, int size, GroupOptions options)
      : shared_(std::move(shared)), rank_(rank), size_(size), options_(std::move(options)) {}
  ~LocalGroup() override {  // whoever still waits for this rank waits in vain
    const std::lock_guard lock(shared_->mutex);
    if (shared_->spoiled_by < 0) shared_->spoiled_by = rank_;
    shared_->changed.notify_all();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const char* backend() const override { return "local"; }

  at::Tensor all_gather(const at::Tensor& local) override {
    show(local, "all_gather");
    at::Tensor gathered = at::cat(shared_->published, 0);
    meet("all_gather");
    return gathered;
  }

  void all_reduce_sum(at::Tensor& tensor) override {
    show(tensor, "all_reduce_sum");
    const at::Tensor sum = sum_of_published();
    meet("all_reduce_sum");  // everybody has read before anybody writes
    tensor.copy_(sum);
  }

  at::Tensor reduce_scatter_sum(const at::Tensor& full) override {
    show(full, "reduce_scatter_sum");
    const auto rows = full.size(0) / size_;
    at::Tensor sum = shared_->published[0].narrow(0, rank_ * rows, rows).clone();
    for (int r = 1; r < size_; ++r)
      sum.add_(shared_->published[static_cast<std::size_t>(r)].narrow(0, rank_ * rows, rows));
    meet("reduce_scatter_sum");
    return sum;
  }

  void broadcast(at::Tensor& tensor, int root) override {
    show(tensor, "broadcast");
    if (rank_ != root) tensor.copy_(shared_->published[static_cast<std::size_t>(root)]);
    meet("broadcast");
  }

  void exchange(int peer, const at::Tensor& out, at::Tensor& in) override {
    {
      const std::lock_guard lock(shared_->mutex);
      refuse_spoiled("exchange");
      shared_->mail[{rank_, peer}].push_back(out.clone());
      shared_->changed.notify_all();
    }
    exchange_in(peer, in, "exchange");
  }

  std::unique_ptr<Flight> start(const std::vector<Parcel>& sends, const std::vector<Parcel>& receives,
                                const char* operation) override {
    {
      const std::lock_guard lock(shared_->mutex);
      refuse_spoiled(operation);
      for (const auto& [peer, tensor] : sends) shared_->mail[{rank_, peer}].push_back(tensor.clone());
      shared_->changed.notify_all();
    }
    return std::make_unique<LocalFlight>(*this, receives, operation);
  }

  void barrier() override { meet("barrier"); }

 private:
  class LocalFlight final : public Flight {
   public:
    LocalFlight(LocalGroup& group, std::vector<Parcel> receives, const char* operation)
        : group_(group), receives_(std::move(receives)), operation_(operation) {}
    bool poll() override {
      while (arrived_ < receives_.size() && group_.take(receives_[arrived_])) ++arrived_;
      return arrived_ == receives_.size();
    }
    void wait() override {
      for (; arrived_ < receives_.size(); ++arrived_)
        group_.exchange_in(receives_[arrived_].peer, receives_[arrived_].tensor, operation_);
    }

   private:
    LocalGroup& group_;
    std::vector<Parcel> receives_;
    const char* operation_;
    std::size_t arrived_ = 0;
  };

  bool take(const Parcel& parcel) {
    std::unique_lock lock(shared_->mutex);
    auto& arrived = shared_->mail[{parcel.peer, rank_}];
    if (arrived.empty()) return false;
    const at::Tensor received = arrived.front();
    arrived.pop_front();
    lock.unlock();
    parcel.tensor.copy_(received.view(parcel.tensor.sizes()));
    return true;
  }

  // The next mail from `peer`.
  void exchange_in(int peer, const at::Tensor& in, const char* operation) {
    std::unique_lock lock(shared_->mutex);
    auto& arrived = shared_->mail[{peer, rank_}];
    wait(lock, operation, [&] { return !arrived.empty(); });
    const at::Tensor received = arrived.front();
    arrived.pop_front();
    lock.unlock();
    in.copy_(received.view(in.sizes()));
  }

  at::Tensor sum_of_published() const {
    at::Tensor sum = shared_->published[0].clone();
    for (int r = 1; r < size_; ++r) sum.add_(shared_->published[static_cast<std::size_t>(r)]);
    return sum;
  }

  void show(const at::Tensor& tensor, const char* operation) {
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->published[static_cast<std::size_t>(rank_)] = tensor;
    }
    meet(operation);
  }

  void meet(const char* operation) {
    std::unique_lock lock(shared_->mutex);
    refuse_spoiled(operation);
    const auto meeting = shared_->meetings;
    if (++shared_->arrived == size_) {
      shared_->arrived = 0;
      ++shared_->meetings;
      shared_->changed.notify_all();
      return;
    }
    wait(lock, operation, [&] { return shared_->meetings != meeting; });
  }

  template <class Predicate>
  void wait(std::unique_lock<std::mutex>& lock, const char* operation, Predicate done) {
    const auto give_up = steady_clock::now() + options_.deadline;
    while (!done()) {
      refuse_spoiled(operation);
      if (steady_clock::now() >= give_up)
        fail(ErrorKind::kTryAgain, operation,
             "a peer did not come within " + std::to_string(options_.deadline.count()) + " ms");
      shared_->changed.wait_for(lock, kPollEvery);
    }
  }

  void refuse_spoiled(const char* operation) {
    if (options_.stopped && options_.stopped()) fail(ErrorKind::kCancelled, operation, "cancelled");
    if (shared_->spoiled_by >= 0)
      fail(ErrorKind::kTryAgain, operation,
           "rank " + std::to_string(shared_->spoiled_by) + " left the group");
  }

  [[noreturn]] void fail(ErrorKind kind, const char* operation, const std::string& why) {
    if (shared_->spoiled_by < 0) shared_->spoiled_by = rank_;
    shared_->changed.notify_all();
    std::string what = operation;
    what.append(" at rank ").append(std::to_string(rank_)).append(": ").append(why);
    throw Error(kind, what);
  }

  std::shared_ptr<Shared> shared_;
  int rank_, size_;
  GroupOptions options_;
};

}  // namespace

std::vector<std::unique_ptr<Group>> make_local_groups(int size, const GroupOptions& options) {
  const auto shared = std::make_shared<Shared>(size);
  std::vector<std::unique_ptr<Group>> groups;
  for (int rank = 0; rank < size; ++rank)
    groups.push_back(std::make_unique<LocalGroup>(shared, rank, size, options));
  return groups;
}

}  // namespace trireme::worker::collective
