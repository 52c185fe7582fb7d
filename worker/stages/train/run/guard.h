// What becomes of a step whose loss or gradient is not finite (jobs::GuardSpec). A pure function of the steps
// so far, which are the same on every rank.
#pragma once

#include <cstdint>

#include "jobs/specification/stages/optimizer_spec.h"

namespace trireme::worker::stages::train {

enum class GuardAction { kGoOn, kRollBack };

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

}  // namespace trireme::worker::stages::train
