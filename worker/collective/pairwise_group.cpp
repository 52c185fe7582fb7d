#include "worker/collective/pairwise_group.h"

#include <ATen/ATen.h>

#include "common/base/error.h"

namespace trireme::worker::collective {
namespace {

void check(const at::Tensor& tensor, const char* operation) {
  if (!tensor.is_contiguous())
    throw Error(ErrorKind::kInternal, std::string(operation) + ": the tensor must be contiguous");
}

}  // namespace

// Everybody but this rank, nearest next rank first, so that not all send to rank 0 at once.
std::vector<int> PairwiseGroup::peers() const {
  std::vector<int> others;
  for (int i = 1; i < size_; ++i) others.push_back((rank_ + i) % size_);
  return others;
}

at::Tensor PairwiseGroup::all_gather(const at::Tensor& local) {
  check(local, "all_gather");
  auto shape = local.sizes().vec();
  const auto rows = shape[0];
  shape[0] *= size_;
  at::Tensor gathered = at::empty(shape, local.options());
  gathered.narrow(0, rank_ * rows, rows).copy_(local);
  std::vector<Parcel> sends, receives;
  for (const int peer : peers()) {
    sends.push_back({peer, local});
    receives.push_back({peer, gathered.narrow(0, peer * rows, rows)});
  }
  transfer(sends, receives, "all_gather");
  return gathered;
}

void PairwiseGroup::all_reduce_sum(at::Tensor& tensor) {
  check(tensor, "all_reduce_sum");
  const auto flat = tensor.view({-1});
  const auto each = (flat.numel() + size_ - 1) / size_;
  at::Tensor padded = flat;
  if (each * size_ != flat.numel()) {
    padded = at::zeros({each * size_}, flat.options());
    padded.narrow(0, 0, flat.numel()).copy_(flat);
  }
  flat.copy_(all_gather(reduce_scatter_sum(padded)).narrow(0, 0, flat.numel()));
}

at::Tensor PairwiseGroup::reduce_scatter_sum(const at::Tensor& full) {
  check(full, "reduce_scatter_sum");
  const auto rows = full.size(0) / size_;
  std::vector<at::Tensor> parts(static_cast<std::size_t>(size_));
  const auto own = full.narrow(0, rank_ * rows, rows);
  parts[static_cast<std::size_t>(rank_)] = own;
  std::vector<Parcel> sends, receives;
  for (const int peer : peers()) {
    auto& part = parts[static_cast<std::size_t>(peer)];
    part = at::empty_like(own);
    sends.push_back({peer, full.narrow(0, peer * rows, rows)});
    receives.push_back({peer, part});
  }
  transfer(sends, receives, "reduce_scatter_sum");
  at::Tensor sum = parts[0].clone();
  for (std::size_t r = 1; r < parts.size(); ++r) sum.add_(parts[r]);
  return sum;
}

void PairwiseGroup::broadcast(at::Tensor& tensor, int root) {
  check(tensor, "broadcast");
  const int shifted = (rank_ - root + size_) % size_;
  const auto peer = [&](int other) { return (other + root) % size_; };
  int reach = 1;
  while (reach < size_) reach *= 2;
  for (reach /= 2; reach >= 1; reach /= 2) {
    if (shifted % (2 * reach) == reach)
      transfer({}, {{peer(shifted - reach), tensor}}, "broadcast");
    else if (shifted % (2 * reach) == 0 && shifted + reach < size_)
      transfer({{peer(shifted + reach), tensor}}, {}, "broadcast");
  }
}

void PairwiseGroup::exchange(int peer, const at::Tensor& out, at::Tensor& in) {
  check(out, "exchange");
  check(in, "exchange");
  transfer({{peer, out}}, {{peer, in}}, "exchange");
}

void PairwiseGroup::barrier() {
  const at::Tensor out = at::zeros({1}, at::kByte), in = at::zeros({1}, at::kByte);
  for (int reach = 1; reach < size_; reach *= 2)
    transfer({{(rank_ + reach) % size_, out}}, {{(rank_ - reach + size_) % size_, in}}, "barrier");
}

}  // namespace trireme::worker::collective
