// What keeps a run from going on with numbers that are wrong: a loss or gradient that is not finite
// (jobs::GuardSpec), and ranks whose weights differ.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/ids.h"

#include "jobs/specification/stages/optimizer_spec.h"
#include "worker/collective/group.h"
#include "worker/stages/train/step/learner.h"

namespace trireme::worker::stages::train {

enum class GuardAction { kGoOn, kRollBack };

// A pure function of the steps so far, which are the same on every rank.
class Guard {
 public:
  explicit Guard(const jobs::GuardSpec& spec) : spec_(spec) {}

  // After step number `step` (1 for the first); `rollbacks`: how many there were since training began. Throws
  // kInvalid when the policy ends the stage here.
  GuardAction after(std::int64_t step, bool non_finite, std::int64_t rollbacks);

 private:
  jobs::GuardSpec spec_;
  std::int64_t in_a_row_ = 0;
};

// Every rank of a gang holds the same weights, frozen ones too. A bit that flips in the memory of one of them
// would be trained on unseen; sums over the bits of every tensor tell, and a single flipped bit always.
inline constexpr std::int64_t kCompareReplicasEvery = 100;  // steps, and after the last one
inline bool is_compared(std::int64_t step, std::int64_t last) {
  return step % kCompareReplicasEvery == 0 || step == last;
}
// Collective; `members`: the world's ranks in gang order. Throws kDamaged naming a tensor and the worker that
// holds other bits than most; of two, which one cannot be told.
void compare_replicas(const NamedTensors& tensors, std::int64_t step, collective::Group& group,
                      const std::vector<Rank>& members);

}  // namespace trireme::worker::stages::train
