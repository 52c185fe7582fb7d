#include "worker/collective/slot_tree.h"

#include <ATen/ATen.h>

#include <bit>
#include <functional>
#include <utility>

#include "common/base/error.h"
#include "common/base/fault_point.h"

namespace trireme::worker::collective {
namespace {

SlotRange root_of(std::int64_t slots) {
  return {0, slots};
}

std::int64_t split(const SlotRange& range) {
  return range.first +
         static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(range.size() - 1)));
}

bool within(const SlotRange& inner, const SlotRange& outer) {
  return inner.first >= outer.first && inner.last <= outer.last;
}

void collect(const SlotRange& node, const SlotRange& own, std::vector<SlotRange>& found) {
  if (node.last <= own.first || node.first >= own.last) return;
  if (within(node, own)) {
    found.push_back(node);
    return;
  }
  const auto middle = split(node);
  collect({node.first, middle}, own, found);
  collect({middle, node.last}, own, found);
}

// Parent of `node` in the tree over [0, slots); the root is its own parent.
SlotRange parent_of(std::int64_t slots, const SlotRange& node) {
  SlotRange at = root_of(slots), above = at;
  while (at != node) {
    above = at;
    const auto middle = split(at);
    at = node.first < middle ? SlotRange{at.first, middle} : SlotRange{middle, at.last};
  }
  return above;
}

using Leaves = std::map<SlotRange, at::Tensor>;

// Adds the given subtrees up to the root. Leaves are left as they are.
at::Tensor add_up(const SlotRange& node, const Leaves& leaves) {
  if (const auto leaf = leaves.find(node); leaf != leaves.end()) return leaf->second;
  const auto middle = split(node);
  return at::add(add_up({node.first, middle}, leaves), add_up({middle, node.last}, leaves));
}

// One round of a round-robin tournament over `size` players: who meets `rank`, or -1 for nobody.
int opponent(int rank, int size, int round) {
  const int players = size + size % 2, fixed = players - 1;
  int other;
  if (rank == fixed) {
    other = round;  // the one for whom 2 * rank = 2 * round (mod players - 1)
  } else {
    other = ((2 * round - rank) % fixed + fixed) % fixed;
    if (other == rank) other = fixed;
  }
  return other < size ? other : -1;
}

at::Tensor recursive_doubling(const at::Tensor& own, Group& group) {
  at::Tensor sum = own, theirs = at::empty_like(own);
  for (int distance = 1; distance < group.size(); distance *= 2) {
    group.exchange(group.rank() ^ distance, sum.contiguous(), theirs);
    sum = at::add(sum, theirs);  // commutative to the bit
    fault_point("train.mid_reduce");
  }
  return sum;
}

// Every rank gets its piece of all partial sums, adds them in the tree's order, and all gather the pieces.
at::Tensor by_pieces(std::int64_t slots, const std::vector<at::Tensor>& partials, Group& group) {
  const auto ranks = group.size(), rank = group.rank();
  const auto length = partials.front().numel(), piece = (length + ranks - 1) / ranks;
  at::Tensor own =
      at::zeros({static_cast<std::int64_t>(partials.size()), piece * ranks}, partials.front().options());
  for (std::size_t i = 0; i < partials.size(); ++i)
    own[static_cast<std::int64_t>(i)].narrow(0, 0, length).copy_(partials[i]);
  Leaves leaves;
  const auto keep = [&](int owner, const at::Tensor& rows) {
    const auto subtrees = owned_subtrees(slots, own_slots(slots, ranks, owner));
    for (std::size_t i = 0; i < subtrees.size(); ++i)
      leaves[subtrees[i]] = rows[static_cast<std::int64_t>(i)];
  };
  keep(rank, own.narrow(1, rank * piece, piece));
  const int rounds = ranks + ranks % 2 - 1;
  for (int round = 0; round < rounds; ++round) {
    const int peer = opponent(rank, ranks, round);
    if (peer < 0) continue;
    const auto count = owned_subtrees(slots, own_slots(slots, ranks, peer)).size();
    at::Tensor theirs = at::empty({static_cast<std::int64_t>(count), piece}, own.options());
    group.exchange(peer, own.narrow(1, peer * piece, piece).contiguous(), theirs);
    keep(peer, theirs);
  }
  fault_point("train.mid_reduce");
  const at::Tensor sum = group.all_gather(add_up(root_of(slots), leaves).contiguous());
  return sum.narrow(0, 0, length);
}

// Own subtrees in the tree's order, the rest by the library: no promise on bits across sizes of the group.
at::Tensor natively(const std::vector<at::Tensor>& partials, Group& group) {
  at::Tensor sum = partials.front();
  for (std::size_t i = 1; i < partials.size(); ++i) sum = at::add(sum, partials[i]);
  sum = sum.contiguous();
  group.all_reduce_sum(sum);
  fault_point("train.mid_reduce");
  return sum;
}

}  // namespace

SlotRange own_slots(std::int64_t slots, int ranks, int rank) {
  if (ranks < 1 || slots % ranks != 0)
    throw Error(ErrorKind::kInvalid,
                std::to_string(ranks) + " workers do not divide " + std::to_string(slots) + " logical slots",
                "use a number of workers that divides logical_slots");
  return {rank * slots / ranks, (rank + 1) * slots / ranks};
}

std::vector<SlotRange> owned_subtrees(std::int64_t slots, const SlotRange& own) {
  std::vector<SlotRange> found;
  collect(root_of(slots), own, found);
  return found;
}

SlotAccumulator::SlotAccumulator(std::int64_t slots, SlotRange own) : slots_(slots), own_(own) {}

void SlotAccumulator::add(std::int64_t slot, at::Tensor value) {
  SlotRange node{slot, slot + 1};
  for (;;) {
    const SlotRange parent = parent_of(slots_, node);
    at::Tensor other;
    {
      const std::lock_guard lock(mutex_);
      const auto middle = parent.size() > 1 ? split(parent) : parent.last;
      const SlotRange sibling =
          node.first == parent.first ? SlotRange{middle, parent.last} : SlotRange{parent.first, middle};
      const auto waiting = open_.find(sibling);
      if (node == parent || !within(parent, own_) || waiting == open_.end()) {
        open_.emplace(node, std::move(value));
        return;
      }
      other = std::move(waiting->second);
      open_.erase(waiting);
    }
    value.add_(other);
    node = parent;
  }
}

std::vector<at::Tensor> SlotAccumulator::take() {
  const std::lock_guard lock(mutex_);
  std::vector<at::Tensor> sums;
  for (const auto& subtree : owned_subtrees(slots_, own_)) {
    const auto found = open_.find(subtree);
    if (found == open_.end()) throw Error(ErrorKind::kInternal, "a slot's sum was taken before it was added");
    sums.push_back(std::move(found->second));
  }
  open_.clear();
  return sums;
}

at::Tensor reduce_slots(std::int64_t slots, const std::vector<at::Tensor>& partials, Group& group) {
  const auto own = own_slots(slots, group.size(), group.rank());
  if (partials.size() != owned_subtrees(slots, own).size())
    throw Error(ErrorKind::kInternal, "one partial sum per owned subtree is needed");
  if (group.size() == 1) return partials.front();
  if (group.sums_natively()) return natively(partials, group);
  const bool powers = std::has_single_bit(static_cast<std::uint64_t>(own.size())) &&
                      std::has_single_bit(static_cast<std::uint64_t>(group.size()));
  return powers ? recursive_doubling(partials.front(), group) : by_pieces(slots, partials, group);
}

at::Tensor tree_sum_rows(const at::Tensor& rows_Lk) {
  Leaves leaves;
  for (std::int64_t slot = 0; slot < rows_Lk.size(0); ++slot) leaves[{slot, slot + 1}] = rows_Lk[slot];
  return add_up(root_of(rows_Lk.size(0)), leaves);
}

}  // namespace trireme::worker::collective
