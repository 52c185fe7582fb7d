#include "worker/collective/metered_group.h"

#include <ATen/ATen.h>

#include <utility>

#include "common/telemetry/metrics.h"

namespace trireme::worker::collective {
namespace {

class MeteredGroup final : public Group {
 public:
  MeteredGroup(std::unique_ptr<Group> group, telemetry::Metrics& metrics)
      : group_(std::move(group)), metrics_(metrics) {}

  int rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  const char* backend() const override { return group_->backend(); }

  at::Tensor all_gather(const at::Tensor& local) override {
    const Timer timer(*this, "all_gather", local.nbytes() * peers());
    return group_->all_gather(local);
  }
  void all_reduce_sum(at::Tensor& tensor) override {
    const Timer timer(*this, "all_reduce_sum", 2 * tensor.nbytes() * peers() / (peers() + 1));
    group_->all_reduce_sum(tensor);
  }
  at::Tensor reduce_scatter_sum(const at::Tensor& full) override {
    const Timer timer(*this, "reduce_scatter_sum", full.nbytes() * peers() / (peers() + 1));
    return group_->reduce_scatter_sum(full);
  }
  void broadcast(at::Tensor& tensor, int root) override {
    const Timer timer(*this, "broadcast", rank() == root ? tensor.nbytes() * peers() : 0);
    group_->broadcast(tensor, root);
  }
  void exchange(int peer, const at::Tensor& out, at::Tensor& in) override {
    const Timer timer(*this, "exchange", out.nbytes());
    group_->exchange(peer, out, in);
  }
  // Counts the bytes, and of the time what the caller waits.
  std::unique_ptr<Flight> start(const std::vector<Parcel>& sends, const std::vector<Parcel>& receives,
                                const char* operation) override {
    std::size_t bytes = 0;
    for (const auto& parcel : sends) bytes += parcel.tensor.nbytes();
    return std::make_unique<MeteredFlight>(*this, group_->start(sends, receives, operation), bytes);
  }
  void barrier() override {
    const Timer timer(*this, "barrier", 0);
    group_->barrier();
  }
  bool takes_device_tensors() const override { return group_->takes_device_tensors(); }
  bool sums_natively() const override { return group_->sums_natively(); }
  void confirm() override { group_->confirm(); }

 private:
  using Steady = std::chrono::steady_clock;
  class Timer {
   public:
    Timer(MeteredGroup& owner, const char* operation, std::size_t bytes)
        : owner_(owner), operation_(operation), bytes_(bytes) {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    ~Timer() {
      const double took = std::chrono::duration<double>(Steady::now() - begin_).count();
      owner_.metrics_.observe("trireme_collective_duration_seconds", took,
                              {{"op", operation_}, {"backend", owner_.backend()}});
      owner_.metrics_.count("trireme_collective_bytes_total", static_cast<double>(bytes_),
                            {{"op", operation_}});
    }

   private:
    MeteredGroup& owner_;
    const char* operation_;
    std::size_t bytes_;
    Steady::time_point begin_ = Steady::now();
  };

  class MeteredFlight final : public Flight {
   public:
    MeteredFlight(MeteredGroup& owner, std::unique_ptr<Flight> flight, std::size_t bytes)
        : owner_(owner), flight_(std::move(flight)), bytes_(bytes) {}
    bool poll() override { return flight_->poll(); }
    void wait() override {
      const Timer timer(owner_, "start", bytes_);
      flight_->wait();
    }

   private:
    MeteredGroup& owner_;
    std::unique_ptr<Flight> flight_;
    std::size_t bytes_;
  };

  std::size_t peers() const { return static_cast<std::size_t>(size() - 1); }

  std::unique_ptr<Group> group_;
  telemetry::Metrics& metrics_;
};

}  // namespace

std::unique_ptr<Group> make_metered(std::unique_ptr<Group> group, telemetry::Metrics& metrics) {
  return std::make_unique<MeteredGroup>(std::move(group), metrics);
}

}  // namespace trireme::worker::collective
