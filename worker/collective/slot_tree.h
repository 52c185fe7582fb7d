// One fixed order of additions over the L logical slots of a step, so that a sum has the same bits however
// the slots are spread over workers (RELIABILITY 8.6, promise C). The tree over [a, b) splits at the largest
// power of two below b - a: aligned blocks of 2^k slots are its subtrees. A rank adds the whole subtrees it
// owns while its slots finish; ranks then exchange exactly those partial sums and add them in the tree's
// order.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/collective/group.h"

namespace trireme::worker::collective {

struct SlotRange {
  std::int64_t first = 0, last = 0;  // [first, last)
  std::int64_t size() const { return last - first; }
  auto operator<=>(const SlotRange&) const = default;
};

// Slots of gang rank `rank` of `ranks`: [rank*L/ranks, (rank+1)*L/ranks). Throws kInvalid unless ranks
// divides L.
SlotRange own_slots(std::int64_t slots, int ranks, int rank);

// The largest subtrees of the tree over [0, slots) that lie within `own`, left to right.
std::vector<SlotRange> owned_subtrees(std::int64_t slots, const SlotRange& own);

// Sums of own slots as they finish, in any order and from any thread; holds at most one tensor per open
// subtree.
class SlotAccumulator {
 public:
  SlotAccumulator(std::int64_t slots, SlotRange own);
  // Takes `value` ([n], contiguous) over: it is added to and must not be used by the caller afterwards.
  void add(std::int64_t slot, at::Tensor value);
  // The sums of owned_subtrees() once every own slot was added; kInternal before.
  std::vector<at::Tensor> take();

 private:
  std::int64_t slots_;
  SlotRange own_;
  std::mutex mutex_;
  std::map<SlotRange, at::Tensor> open_;
};

// The sum over all slots, the same bits on every rank and for every size of the group. Recursive doubling
// when each rank owns one subtree and their number is a power of two; else every rank adds one piece of the
// vectors, which moves each element twice. A group that sums natively does so, on partials.front()'s memory,
// with no promise on bits.
at::Tensor reduce_slots(std::int64_t slots, const std::vector<at::Tensor>& partials, Group& group);

// Sum of the rows of [L, k] in the same order, on one rank.
at::Tensor tree_sum_rows(const at::Tensor& rows_Lk);

}  // namespace trireme::worker::collective
