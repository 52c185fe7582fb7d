#include "worker/stages/train/run/guard.h"

#include <string>

#include "common/base/error.h"

namespace trireme::worker::stages::train {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::kInvalid, what,
              "lower optimizer.learning_rate, set optimizer.gradient_clip_norm, or look at the batch of that "
              "step");
}

}  // namespace

GuardAction Guard::after(std::int64_t step, bool non_finite, std::int64_t rollbacks) {
  in_a_row_ = non_finite ? in_a_row_ + 1 : 0;
  if (!non_finite) return GuardAction::kGoOn;
  const std::string here = "loss or gradient of step " + std::to_string(step) + " was not finite";
  if (spec_.on_non_finite == jobs::OnNonFinite::kStop) refuse(here);
  if (spec_.on_non_finite == jobs::OnNonFinite::kSkip) {
    if (in_a_row_ >= spec_.most_in_a_row)
      refuse("loss or gradient of " + std::to_string(in_a_row_) + " steps in a row up to step " +
             std::to_string(step) + " was not finite");
    return GuardAction::kGoOn;
  }
  if (rollbacks >= spec_.most_rollbacks)
    refuse(here + ", after " + std::to_string(rollbacks) + " returns to a checkpoint");
  return GuardAction::kRollBack;
}

}  // namespace trireme::worker::stages::train
