// Every collective out of start()ed transfers, so that a backend needs only to move bytes and sums have
// the same order of additions (by rank) on all of them. Sums move each element twice: pieces to the rank that
// adds them, then the sums to all.
#pragma once

#include <string>
#include <vector>

#include "worker/collective/group.h"

namespace trireme::worker::collective {

class PairwiseGroup : public Group {
 public:
  PairwiseGroup(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const final { return rank_; }
  int size() const final { return size_; }

  at::Tensor all_gather(const at::Tensor& local) final;
  void all_reduce_sum(at::Tensor& tensor) final;
  at::Tensor reduce_scatter_sum(const at::Tensor& full) final;
  void broadcast(at::Tensor& tensor, int root) final;  // binomial tree
  void exchange(int peer, const at::Tensor& out, at::Tensor& in) final;
  void barrier() final;  // dissemination

 protected:
  // Sends and receives at the same time; returns when all are done.
  void transfer(const std::vector<Parcel>& sends, const std::vector<Parcel>& receives,
                const char* operation) {
    start(sends, receives, operation)->wait();
  }

 private:
  std::vector<int> peers() const;
  int rank_, size_;
};

}  // namespace trireme::worker::collective
