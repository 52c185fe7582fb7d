#include "worker/stages/train/run/sidecar_share.h"

#include <gtest/gtest.h>

namespace trireme::worker::stages::train {
namespace {

TEST(SidecarShare, SaysWhatAStepAndTheJoinCost) {
  const SidecarShare share{0.25, 0.5, 50, 100, true};
  EXPECT_EQ(
      share.text(),
      "sidecars: joined in 0.250 s, then 5000 us of 500.0 ms per step (1.000 %), with joining 1.500 % of "
      "the processor time");
  EXPECT_NE(SidecarShare{}.text().find("0 us of 0.0 ms"), std::string::npos);
}

}  // namespace
}  // namespace trireme::worker::stages::train
