// StreamCalls without a device: every call is written down, and data moves through a gang of threads. float32
// and bfloat16 tensors count as the device's, and all that are not the host's. What an operation gives is NaN
// until the caller's stream follows its mark, so that whoever reads too early is found out.
#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "worker/collective/group.h"
#include "worker/collective/stream/stream_calls.h"

namespace trireme::worker::collective {

struct Record {
  std::atomic<bool> stuck{false}, not_ready{false};  // peers do not come; own work before is not done
  std::atomic<bool> broken{false};                   // the device reports an error
  std::atomic<bool> refuses{false};                  // gathers are not taken
  std::atomic<bool> wrong_sums{false};
  std::atomic<int> looks{0}, aborts{0}, looks_of_driver{0};
  std::mutex mutex;
  std::vector<std::string> calls;  // of the driving thread

  void add(const std::string& call) {
    const std::lock_guard lock(mutex);
    calls.push_back(call);
  }
  std::vector<std::string> take() {
    const std::lock_guard lock(mutex);
    return std::exchange(calls, {});
  }
};

class RecordedCalls final : public StreamCalls {
 public:
  // `data`: this rank's group of a gang that nothing else uses.
  RecordedCalls(std::unique_ptr<Group> data, std::shared_ptr<Record> record)
      : data_(std::move(data)), record_(std::move(record)) {}

  const char* name() const override { return "recorded"; }
  std::string describe() const override { return "Recorded"; }
  bool on_device(const at::Tensor& tensor) const override {
    if (!tensor.is_cpu()) return true;
    return tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16;
  }

  Mark open() override {
    record_->add("open");
    return std::make_shared<Point>(Point{.ready = true, .arrivals = {}});
  }
  void send(const at::Tensor& tensor, int peer) override {
    record_->add("send");
    sends_.push_back({peer, tensor.clone()});
  }
  void receive(const at::Tensor& tensor, int peer) override {
    record_->add("receive");
    receives_.push_back({peer, tensor});
  }
  void all_gather(const at::Tensor& local, const at::Tensor& gathered) override {
    record_->add("all_gather");
    if (record_->refuses) throw Error(ErrorKind::kTryAgain, "invalid usage");
    work_ = [this, local, gathered] { arrives(gathered, data_->all_gather(local)); };
  }
  void reduce_scatter_sum(const at::Tensor& full, const at::Tensor& part) override {
    record_->add("reduce_scatter_sum");
    work_ = [this, full, part] { arrives(part, data_->reduce_scatter_sum(full)); };
  }
  void all_reduce_sum(const at::Tensor& tensor) override {
    record_->add("all_reduce_sum");
    work_ = [this, tensor] {
      at::Tensor sum = tensor.clone();
      data_->all_reduce_sum(sum);
      if (record_->wrong_sums) sum.view(-1)[0].add_(1);
      arrives(tensor, sum);
    };
  }
  void broadcast(const at::Tensor& tensor, int root) override {
    record_->add("broadcast");
    work_ = [this, tensor, root] {
      at::Tensor copy = tensor.clone();
      data_->broadcast(copy, root);
      arrives(tensor, copy);
    };
  }
  void close() override {
    record_->add("close");
    if (work_) std::exchange(work_, nullptr)();
    if (sends_.empty() && receives_.empty()) return;
    std::vector<Parcel> landing;
    for (const auto& [peer, tensor] : receives_) landing.push_back({peer, at::empty_like(tensor)});
    data_->start(sends_, landing, "recorded")->wait();
    for (std::size_t i = 0; i < landing.size(); ++i) arrives(receives_[i].tensor, landing[i].tensor);
    sends_.clear();
    receives_.clear();
  }
  bool taken() override { return true; }
  Mark mark() override {
    record_->add("mark");
    return std::make_shared<Point>(Point{.ready = false, .arrivals = std::exchange(arrivals_, {})});
  }
  void follow(const Mark& mark) override {
    record_->add("follow");
    for (const auto& [where, what] : static_cast<Point*>(mark.get())->arrivals) where.copy_(what);
  }
  bool passed(const Mark& mark) override {
    ++record_->looks;
    if (std::this_thread::get_id() == driver_) ++record_->looks_of_driver;
    if (record_->broken) throw Error(ErrorKind::kTryAgain, "CUDA error: unspecified launch failure");
    return static_cast<Point*>(mark.get())->ready ? !record_->not_ready : !record_->stuck;
  }
  void abort() override { ++record_->aborts; }
  void finish() override { record_->add("finish"); }

 private:
  struct Point {
    bool ready;
    std::vector<std::pair<at::Tensor, at::Tensor>> arrivals;
  };
  void arrives(const at::Tensor& where, const at::Tensor& what) {
    where.fill_(std::numeric_limits<double>::quiet_NaN());
    arrivals_.emplace_back(where, what);
  }

  std::unique_ptr<Group> data_;
  std::shared_ptr<Record> record_;
  std::thread::id driver_ = std::this_thread::get_id();
  std::function<void()> work_;
  std::vector<Parcel> sends_, receives_;
  std::vector<std::pair<at::Tensor, at::Tensor>> arrivals_;
};

}  // namespace trireme::worker::collective
