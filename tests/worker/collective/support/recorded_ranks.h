// Runs a function once per rank of a gang over recorded streams, each on its own thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "tests/worker/collective/support/recorded_calls.h"
#include "tests/worker/collective/support/threads.h"
#include "worker/collective/stream/stream_group.h"

namespace trireme::worker::collective {

// Another's group; what is asked of it is written down where there is a record.
class Lent final : public Group {
 public:
  explicit Lent(Group& group) : group_(group) {}
  Lent(std::unique_ptr<Group> group, std::shared_ptr<Record> record)
      : owned_(std::move(group)), group_(*owned_), record_(std::move(record)) {}
  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }
  const char* backend() const override { return group_.backend(); }
  at::Tensor all_gather(const at::Tensor& local) override {
    note("host all_gather");
    return group_.all_gather(local);
  }
  void all_reduce_sum(at::Tensor& tensor) override {
    note("host all_reduce_sum");
    group_.all_reduce_sum(tensor);
  }
  at::Tensor reduce_scatter_sum(const at::Tensor& full) override {
    note("host reduce_scatter_sum");
    return group_.reduce_scatter_sum(full);
  }
  void broadcast(at::Tensor& tensor, int root) override {
    note("host broadcast");
    group_.broadcast(tensor, root);
  }
  void exchange(int peer, const at::Tensor& out, at::Tensor& in) override {
    note("host exchange");
    group_.exchange(peer, out, in);
  }
  std::unique_ptr<Flight> start(const std::vector<Parcel>& sends, const std::vector<Parcel>& receives,
                                const char* operation) override {
    note("host start");
    return group_.start(sends, receives, operation);
  }
  void barrier() override { group_.barrier(); }

 private:
  void note(const char* call) {
    if (record_ != nullptr) record_->add(call);
  }
  std::unique_ptr<Group> owned_;
  Group& group_;
  std::shared_ptr<Record> record_;
};

// One per rank, each for a thread of its own.
inline std::vector<std::unique_ptr<Group>> make_recorded_groups(int size, const GroupOptions& options) {
  auto hosts = make_local_groups(size, options), data = make_local_groups(size, options);
  std::vector<std::unique_ptr<Group>> groups;
  for (std::size_t r = 0; r < hosts.size(); ++r) {
    const auto record = std::make_shared<Record>();
    groups.push_back(make_stream_group(
        std::make_unique<Lent>(std::move(hosts[r]), record),
        std::make_unique<RecordedCalls>(std::make_unique<Lent>(std::move(data[r]), record), record),
        options));
  }
  return groups;
}

inline void run_recorded_ranks(int size, const std::function<void(Group&, Record&)>& body,
                               const GroupOptions& options = {}) {
  auto hosts = make_local_groups(size, options);
  std::vector<std::unique_ptr<Group>> groups(hosts.size());  // a rank that is done must not leave its gang
  std::mutex mutex;
  run_ranks(
      size,
      [&](Group& data) {
        // The gang that run_ranks() made moves the data; it lends itself to the calls.
        const auto record = std::make_shared<Record>();
        std::unique_ptr<Group> host;
        {
          const std::lock_guard lock(mutex);
          host = std::move(hosts[static_cast<std::size_t>(data.rank())]);
        }
        auto& group = groups[static_cast<std::size_t>(data.rank())];
        group =
            make_stream_group(std::make_unique<Lent>(std::move(host), record),
                              std::make_unique<RecordedCalls>(std::make_unique<Lent>(data), record), options);
        body(*group, *record);
      },
      options);
}

}  // namespace trireme::worker::collective
