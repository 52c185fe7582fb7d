#include "worker/stages/train/objectives/contrastive/pair_learner.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>

namespace trireme::worker::stages::train {
namespace {

TEST(PairSignals, OfASlotAreSimilaritiesAndWeights) {
  losses::SlotEmbeddings slot;
  const auto unit = [] {
    const at::Tensor rows = at::randn({5, 4});
    return rows / rows.norm(2, 1, true);
  };
  slot.image_bD = unit();
  slot.text_bD = {unit(), unit()};
  const at::Tensor gates = at::rand({3, 5}, at::kDouble);
  const at::Tensor values = slot_signals(slot, gates);
  ASSERT_EQ(values.size(0), static_cast<std::int64_t>(pair_signals(true, true, true).size()));
  for (std::int64_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(values[0][i].item<double>(), slot.image_bD[i].dot(slot.text_bD[0][i]).item<double>(), 1e-6);
    EXPECT_NEAR(values[2][i].item<double>(), slot.text_bD[0][i].dot(slot.text_bD[1][i]).item<double>(), 1e-6);
    EXPECT_EQ(values[6][i].item<double>(), (gates[0][i] * gates[1][i]).item<double>());
  }
  slot.text_bD.pop_back();
  EXPECT_EQ(slot_signals(slot, {}).size(0), 1);
  EXPECT_EQ(pair_signals(true, false, false), std::vector<std::string>{"similarity.text"});
}

}  // namespace
}  // namespace trireme::worker::stages::train
