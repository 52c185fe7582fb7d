#include "jobs/store/checkpoint.h"

#include <gtest/gtest.h>

namespace trireme::store {
namespace {

TEST(CheckpointNames, SortByStepAndTellWhatTheyAre) {
  EXPECT_EQ(checkpoint_name(1234), "step-00001234");
  EXPECT_LT(checkpoint_name(999), checkpoint_name(1000));
  EXPECT_EQ(checkpoint_name(123456789), "step-123456789");
  EXPECT_EQ(checkpoint_aside_name(7, {3}), ".tmp-7-3");
  EXPECT_TRUE(is_checkpoint_aside_name(".tmp-7-3") && !is_checkpoint_aside_name("step-00000001"));
}

}  // namespace
}  // namespace trireme::store
