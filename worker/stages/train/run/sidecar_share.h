// What sidecars of other stages cost a training run: the processor time of reading and joining them once and
// of making captions and targets of them at every step, beside that of the steps themselves. Own rank alone.
#pragma once

#include <cstdint>
#include <string>

namespace trireme::worker::stages::train {

struct SidecarShare {
  double opened_seconds = 0;  // reading and joining, before the first step
  double step_seconds = 0;    // captions and targets of all steps
  double all_seconds = 0;     // of the process over all steps, loader's threads too
  std::int64_t steps = 0;
  bool any = false;  // there are such captions or targets

  // "sidecars: joined in 0.012 s, then 85 us of 210 ms per step (0.04 %), with joining 0.08 %", processor
  // time
  std::string text() const;
};

}  // namespace trireme::worker::stages::train
