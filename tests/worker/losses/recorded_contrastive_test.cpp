// The loss on a device that is recorded (recorded_device.h): what it holds there, and that nothing of the
// host's is given to the device's operations.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/worker/collective/support/recorded_ranks.h"
#include "tests/worker/losses/support/full_matrix.h"
#include "tests/worker/losses/support/random_batch.h"
#include "tests/worker/support/recorded_device.h"
#include "worker/kernels/pair_tile/pair_tile.h"

namespace trireme::worker::losses {
namespace {

WholeBatch batch_of(std::int64_t rows, std::int64_t slots, at::ScalarType type) {
  Random random(5);
  WholeBatch batch;
  batch.slots = slots;
  batch.image = random.rows(rows, 8, type);
  batch.texts = {random.rows(rows, 8, type)};
  batch.live = at::ones({rows}, at::kByte);
  batch.live[11] = 0;
  batch.point.scale = 10;
  return batch;
}

WholeBatch there(WholeBatch batch) {
  batch.image = batch.image.to(recorded::device());
  for (auto& text : batch.texts) text = text.to(recorded::device());
  return batch;
}

double loss_of(const WholeBatch& batch, collective::Group& group) {
  return contrastive(slots_of(batch, group.size(), group.rank()), batch.slots, batch.point, batch.options,
                     group, one_after_the_other)
      .loss;
}

// Four tiles meet twice each, and a few more hold what a meeting takes. One kept by each meeting would be
// 32,768 of 256 MiB for a million rows on a GPU.
TEST(RecordedContrastive, HoldsAFewTilesHoweverManyMeet) {
  const std::int64_t tile = kernels::largest_tile(recorded::device());
  ASSERT_EQ(tile, 1024);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const auto batch = batch_of(2 * tile, 1, type);
    double want = 0, got = 0;
    collective::run_ranks(1, [&](collective::Group& group) { want = loss_of(batch, group); });
    const auto most = recorded::DeviceMemory::held().most_since([&] {
      collective::run_recorded_ranks(
          1, [&](collective::Group& group, collective::Record&) { got = loss_of(there(batch), group); });
    });
    EXPECT_NEAR(got, want, 1e-4 * want) << at::toString(type);
    EXPECT_LE(most, static_cast<std::size_t>(8 * tile * tile * 4)) << at::toString(type);
    EXPECT_GE(most, static_cast<std::size_t>(tile * tile * 4)) << "the count can fail";
  }
}

// The smallest sets the size for all: they meet in tiles of one grid.
TEST(RecordedContrastive, DevicesOfDifferentKindsAgreeOnOneTile) {
  const auto batch = batch_of(2 * 1024, 2, at::kFloat);
  double want = 0;
  collective::run_ranks(1, [&](collective::Group& group) { want = loss_of(batch, group); });
  collective::run_recorded_ranks(2, [&](collective::Group& group, collective::Record&) {
    recorded::DeviceMemory::of_thread() = recorded::kBytes >> (4 * group.rank());
    EXPECT_EQ(kernels::largest_tile(recorded::device()), group.rank() == 0 ? 1024 : 256);
    EXPECT_NEAR(loss_of(there(batch), group), want, 1e-4 * want);
  });
}

}  // namespace
}  // namespace trireme::worker::losses
