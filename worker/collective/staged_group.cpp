#include "worker/collective/staged_group.h"

#include <ATen/ATen.h>

#include <utility>

namespace trireme::worker::collective {
namespace {

class StagedGroup final : public Group {
 public:
  explicit StagedGroup(std::unique_ptr<Group> host) : host_(std::move(host)) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  const char* backend() const override { return host_->backend(); }
  bool takes_device_tensors() const override { return true; }
  void barrier() override { host_->barrier(); }

  at::Tensor all_gather(const at::Tensor& local) override {
    return host_->all_gather(local.cpu()).to(local.device());
  }
  void all_reduce_sum(at::Tensor& tensor) override {
    at::Tensor staged = tensor.cpu();
    host_->all_reduce_sum(staged);
    if (!tensor.is_cpu()) tensor.copy_(staged);
  }
  at::Tensor reduce_scatter_sum(const at::Tensor& full) override {
    return host_->reduce_scatter_sum(full.cpu()).to(full.device());
  }
  void broadcast(at::Tensor& tensor, int root) override {
    at::Tensor staged = tensor.cpu();
    host_->broadcast(staged, root);
    if (!tensor.is_cpu()) tensor.copy_(staged);
  }
  void exchange(int peer, const at::Tensor& out, at::Tensor& in) override {
    at::Tensor staged = on_host(in);
    host_->exchange(peer, out.cpu(), staged);
    if (!in.is_cpu()) in.copy_(staged);
  }
  std::unique_ptr<Flight> start(const std::vector<Parcel>& sends, const std::vector<Parcel>& receives,
                                const char* operation) override {
    std::vector<Parcel> staged_sends, staged_receives;
    for (const auto& [peer, tensor] : sends) staged_sends.push_back({peer, tensor.cpu()});
    for (const auto& [peer, tensor] : receives) staged_receives.push_back({peer, on_host(tensor)});
    auto flight = host_->start(staged_sends, staged_receives, operation);
    return std::make_unique<StagedFlight>(std::move(flight), receives, std::move(staged_receives));
  }

 private:
  class StagedFlight final : public Flight {
   public:
    StagedFlight(std::unique_ptr<Flight> flight, std::vector<Parcel> wanted, std::vector<Parcel> staged)
        : flight_(std::move(flight)), wanted_(std::move(wanted)), staged_(std::move(staged)) {}
    bool poll() override { return flight_->poll(); }
    void wait() override {
      flight_->wait();
      for (std::size_t i = 0; i < wanted_.size(); ++i)
        if (!wanted_[i].tensor.is_cpu()) wanted_[i].tensor.copy_(staged_[i].tensor);
      wanted_.clear();
    }

   private:
    std::unique_ptr<Flight> flight_;
    std::vector<Parcel> wanted_, staged_;
  };

  static at::Tensor on_host(const at::Tensor& tensor) {
    return tensor.is_cpu() ? tensor : at::empty_like(tensor, tensor.options().device(at::kCPU));
  }

  std::unique_ptr<Group> host_;
};

}  // namespace

std::unique_ptr<Group> make_staged_group(std::unique_ptr<Group> host) {
  return std::make_unique<StagedGroup>(std::move(host));
}

}  // namespace trireme::worker::collective
