// A step's collectives over a device's streams, recorded: what the loss and the sum of gradients ask for, in
// which order, and that the host looks at nothing between two steps.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/worker/collective/support/recorded_ranks.h"
#include "tests/worker/losses/support/full_matrix.h"
#include "tests/worker/losses/support/random_batch.h"
#include "worker/collective/slot_tree.h"
#include "worker/losses/contrastive.h"

namespace trireme::worker::losses {
namespace {

using collective::Group;
using collective::Record;

// Operations are framed one by one: open, what is moved, close, mark; and every mark is followed, in order.
std::string fault_in_order(const std::vector<std::string>& calls) {
  int open = 0, marks = 0, followed = 0;
  for (const auto& call : calls) {
    if (call == "open" && open++ != 0) return "an operation within another";
    if (call == "mark" && (--open != 0 || ++marks == 0)) return "a mark without an operation";
    if (call == "follow" && ++followed > marks) return "something is followed that was not begun";
  }
  return open == 0 && marks == followed ? "" : "not all that was begun is followed";
}

std::int64_t count(const std::vector<std::string>& calls, const std::string& call) {
  return std::count(calls.begin(), calls.end(), call);
}

// Between the lines' coefficients and the last tile that travels for the gradients.
std::int64_t meetings_of_hosts_meanwhile(const std::vector<std::string>& calls) {
  const auto coefficients = std::find(calls.begin(), calls.end(), "all_gather");
  const auto last = std::find(calls.rbegin(), calls.rend(), "send").base();
  return coefficients < last ? std::count_if(coefficients, last,
                                             [](const std::string& call) { return call.starts_with("host"); })
                             : -1;
}

WholeBatch batch_of(std::uint64_t key) {
  auto batch = random_batch(key, at::kFloat);
  Random random(key);
  batch.slots = 8;
  batch.image = random.rows(40, 8, at::kFloat);
  for (auto& text : batch.texts) text = random.rows(40, 8, at::kFloat);
  batch.live = at::ones({40}, at::kByte);
  batch.live[11] = 0;
  for (auto& weight : batch.weights) weight = at::full({40}, 0.7, at::kDouble);
  if (batch.labels.defined()) batch.labels = at::arange(40, at::kLong).floor_divide(3);
  batch.point.scale = 10;
  return batch;
}

// One step: the loss, and the sum of all slots' gradients.
double step(const WholeBatch& batch, Group& group, at::Tensor& gradient) {
  const auto result = contrastive(slots_of(batch, group.size(), group.rank()), batch.slots, batch.point,
                                  batch.options, group, one_after_the_other);
  collective::SlotAccumulator sums(batch.slots,
                                   collective::own_slots(batch.slots, group.size(), group.rank()));
  const auto first = collective::own_slots(batch.slots, group.size(), group.rank()).first;
  for (std::size_t i = 0; i < result.gradients.size(); ++i)
    sums.add(first + static_cast<std::int64_t>(i), result.gradients[i].image_bD.clone().view({-1}));
  gradient = collective::reduce_slots(batch.slots, sums.take(), group);
  group.confirm();
  return result.loss;
}

TEST(StreamContrastive, TwoStepsAreRightAndNothingIsLookedAtBetweenThem) {
  for (const std::uint64_t key : {1, 2, 3, 4, 5, 6})
    for (const int ranks : {1, 2, 4}) {
      const auto batch = batch_of(key);
      double want = 0;
      at::Tensor want_gradient;
      collective::run_ranks(1, [&](Group& group) { want = step(batch, group, want_gradient); });
      collective::run_recorded_ranks(ranks, [&](Group& group, Record& record) {
        std::vector<std::vector<std::string>> calls;
        for (int s = 0; s < 2; ++s) {
          at::Tensor gradient;
          EXPECT_NEAR(step(batch, group, gradient), want, 1e-4 * std::max(1.0, std::abs(want)));
          EXPECT_TRUE(at::allclose(gradient, want_gradient, 1e-3, 1e-5)) << key << ", " << ranks;
          calls.push_back(record.take());
          EXPECT_EQ(fault_in_order(calls.back()), "");
        }
        EXPECT_EQ(calls[0], calls[1]) << "a step asks for the same as the step before";
        EXPECT_EQ(count(calls[0], "all_gather"), 1) << "the lines' coefficients";
        EXPECT_EQ(count(calls[0], "all_reduce_sum"), ranks > 1 ? 1 : 0) << "the gradient";
        EXPECT_EQ(count(calls[0], "send") > 0, ranks > 1) << "tiles round the ring";
        if (ranks > 1) {
          EXPECT_EQ(meetings_of_hosts_meanwhile(calls[0]), 0) << "the loss itself is read last";
        }
        EXPECT_EQ(record.looks_of_driver, 0) << "the host looked at the device";
      });
    }
}

}  // namespace
}  // namespace trireme::worker::losses
