#include "tests/worker/collective/support/group_suite.h"

#include <ATen/ATen.h>

#include <cmath>

#include "common/base/random.h"
#include "worker/collective/slot_tree.h"

namespace trireme::worker::collective {
namespace {

std::string expect_equal(const at::Tensor& got, const at::Tensor& want, const std::string& what) {
  if (got.sizes() == want.sizes() && got.scalar_type() == want.scalar_type() && at::equal(got, want))
    return "";
  return what + " differs";
}

// Sums in rank order, to the bit; where the library adds in an order of its own, to rounding.
std::string expect_sum(const Group& group, const at::Tensor& got, const at::Tensor& want,
                       const std::string& what) {
  if (!group.sums_natively() || !at::isFloatingType(want.scalar_type())) return expect_equal(got, want, what);
  const double relative = want.scalar_type() == at::kBFloat16 ? 3e-2 : 1e-4;
  return got.sizes() == want.sizes() && at::allclose(got, want, relative, relative * 100) ? ""
                                                                                          : what + " is off";
}

const std::vector<at::ScalarType> kTypes{at::kFloat, at::kDouble, at::kBFloat16, at::kLong, at::kByte};

at::Tensor typed(std::int64_t count, int key, at::ScalarType type) {
  if (at::isFloatingType(type)) return test_values(count, static_cast<std::uint64_t>(key), type);
  return at::arange(key, key + count, at::TensorOptions().dtype(type));
}

std::string gathers_in_rank_order(Group& group) {
  for (const auto type : kTypes) {
    const at::Tensor own = typed(6, group.rank(), type).view({2, 3});
    std::vector<at::Tensor> parts;
    for (int r = 0; r < group.size(); ++r) parts.push_back(typed(6, r, type).view({2, 3}));
    const auto fault = expect_equal(group.all_gather(own), at::cat(parts), "all_gather");
    if (!fault.empty()) return fault;
  }
  return "";
}

std::string reduces_in_rank_order(Group& group) {
  for (const auto type : kTypes)
    for (const std::int64_t count : {1, 5, 1000, 100003}) {
      at::Tensor own = typed(count, group.rank(), type), want = typed(count, 0, type);
      for (int r = 1; r < group.size(); ++r) want.add_(typed(count, r, type));
      group.all_reduce_sum(own);
      const auto fault = expect_sum(group, own, want, "all_reduce_sum of " + std::to_string(count));
      if (!fault.empty()) return fault;
    }
  return "";
}

std::string reduce_scatters(Group& group) {
  const auto rows = 7L;
  at::Tensor want;
  for (int r = 0; r < group.size(); ++r) {
    const auto part = test_values(rows * group.size() * 3, static_cast<std::uint64_t>(r)).view({-1, 3});
    const auto mine = part.narrow(0, group.rank() * rows, rows);
    want = r == 0 ? mine.clone() : want.add_(mine);
  }
  const auto full = test_values(rows * group.size() * 3, static_cast<std::uint64_t>(group.rank()));
  return expect_sum(group, group.reduce_scatter_sum(full.view({-1, 3})), want, "reduce_scatter_sum");
}

std::string broadcasts_from_every_root(Group& group) {
  for (int root = 0; root < group.size(); ++root) {
    at::Tensor own = test_values(1000, static_cast<std::uint64_t>(group.rank()));
    group.broadcast(own, root);
    const auto fault = expect_equal(own, test_values(1000, static_cast<std::uint64_t>(root)), "broadcast");
    if (!fault.empty()) return fault;
  }
  return "";
}

std::string exchanges_unequal_sizes(Group& group) {
  for (int a = 0; a < group.size(); ++a)
    for (int b = a + 1; b < group.size(); ++b) {
      if (group.rank() != a && group.rank() != b) continue;
      const int peer = group.rank() == a ? b : a;
      const at::Tensor out = test_values(10 + group.rank(), static_cast<std::uint64_t>(group.rank()));
      at::Tensor in = at::empty({10 + peer});
      group.exchange(peer, out, in);
      const auto fault =
          expect_equal(in, test_values(10 + peer, static_cast<std::uint64_t>(peer)), "exchange");
      if (!fault.empty()) return fault;
    }
  return "";
}

// Two rings in opposite directions under way at once, as the streamed loss does; small and large parcels.
std::string rings_in_flight(Group& group) {
  const int ranks = group.size(), next = (group.rank() + 1) % ranks,
            last = (group.rank() + ranks - 1) % ranks;
  if (ranks == 1) return "";
  for (const std::int64_t count : {1, 1000, 300000}) {
    at::Tensor up = test_values(count, static_cast<std::uint64_t>(group.rank()));
    at::Tensor down = test_values(count + 1, static_cast<std::uint64_t>(100 + group.rank()));
    for (int step = 1; step <= ranks; ++step) {
      const at::Tensor new_up = at::empty_like(up), new_down = at::empty_like(down);
      const auto flight =
          group.start({{next, up}, {last, down}}, {{last, new_up}, {next, new_down}}, "rings");
      while (step % 2 == 0 && !flight->poll()) {
      }
      flight->wait();
      up = new_up;
      down = new_down;
      const int from_up = (group.rank() + ranks * 2 - step) % ranks,
                from_down = (group.rank() + step) % ranks;
      auto fault = expect_equal(up, test_values(count, static_cast<std::uint64_t>(from_up)), "ring up");
      if (fault.empty())
        fault = expect_equal(down, test_values(count + 1, static_cast<std::uint64_t>(100 + from_down)),
                             "ring down");
      if (!fault.empty()) return fault;
    }
  }
  return "";
}

std::string barriers_many_times(Group& group) {
  for (int i = 0; i < 20; ++i) group.barrier();
  return "";
}

// The oracle: all slots added on one rank by tree_sum_rows.
std::string slot_sums_are_canonical(Group& group) {
  for (const std::int64_t per_rank : {1, 2, 3, 4, 6}) {
    const auto slots = per_rank * group.size();
    const auto own = own_slots(slots, group.size(), group.rank());
    SlotAccumulator accumulator(slots, own);
    for (auto slot = own.last - 1; slot >= own.first; --slot)
      accumulator.add(slot, test_values(1001, static_cast<std::uint64_t>(slot)));
    std::vector<at::Tensor> rows;
    for (std::int64_t slot = 0; slot < slots; ++slot)
      rows.push_back(test_values(1001, static_cast<std::uint64_t>(slot)));
    const auto fault =
        expect_sum(group, reduce_slots(slots, accumulator.take(), group), tree_sum_rows(at::stack(rows)),
                   "sum of " + std::to_string(slots) + " slots");
    if (!fault.empty()) return fault;
  }
  return "";
}

}  // namespace

at::Tensor test_values(std::int64_t count, std::uint64_t key, at::ScalarType type) {
  RandomStream random(1, RandomPurpose::kTest, key);
  at::Tensor values = at::empty({count}, at::kFloat);
  for (std::int64_t i = 0; i < count; ++i)
    values.data_ptr<float>()[i] = static_cast<float>(random.normal() * std::pow(10.0, random.uniform(-3, 3)));
  return values.to(type);
}

const std::vector<std::pair<std::string, GroupCheck>>& group_checks() {
  static const std::vector<std::pair<std::string, GroupCheck>> kChecks{
      {"gathers_in_rank_order", gathers_in_rank_order},
      {"reduces_in_rank_order", reduces_in_rank_order},
      {"reduce_scatters", reduce_scatters},
      {"broadcasts_from_every_root", broadcasts_from_every_root},
      {"exchanges_unequal_sizes", exchanges_unequal_sizes},
      {"rings_in_flight", rings_in_flight},
      {"barriers_many_times", barriers_many_times},
      {"slot_sums_are_canonical", slot_sums_are_canonical},
  };
  return kChecks;
}

}  // namespace trireme::worker::collective
