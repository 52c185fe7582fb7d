// What the loss sees of single samples, gathered over the last epoch (Objective::signals(): similarities,
// weights), as histograms of clean, corrupted and all other samples, and how well each tells clean from
// corrupted: AUC = P(clean > corrupted) + P(equal)/2. Counts of 2048 bins (values beyond a range fall into
// its end bins), so memory is constant, and the same bits for any number of ranks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/collective/group.h"
#include "worker/stages/train/signals/truth.h"
#include "worker/stages/train/step/learner.h"

namespace trireme::worker::stages::train {

inline constexpr std::int64_t kSignalBins = 2048, kShownBins = 64;

class SignalTally {
 public:
  // Their ranges go by their names: "similarity.…" -1 to 1, "weight.sample" 0 to 1, others 0 to 4.
  explicit SignalTally(std::vector<std::string> names);

  // `values`: float64 [signals, b] on the CPU of each own slot; `truth` one per row, row by row; rows that
  // are not live do not count. Collective: every rank ends with the counts of all. A value that is not finite
  // is left out.
  void add(const std::vector<at::Tensor>& values, const std::vector<at::Tensor>& live,
           const std::vector<std::vector<Truth>>& truth, collective::Group& group);

  std::int64_t samples() const;
  // {"format":"trireme-signals", …} of FORMAT.md; `epoch`: the last one.
  std::string to_json(std::int64_t epoch) const;

  // For a checkpoint: "signals.counts" int64 [signals, 3, kSignalBins], "signals.sums" float64 [signals, 3].
  // Loading tensors without them starts at zero; kDamaged when they have another shape.
  NamedTensors tensors() const;
  void load(const NamedTensors& tensors);

 private:
  std::vector<std::string> names_;
  at::Tensor counts_, sums_;
};

// P(clean > corrupted) + P(equal)/2 from counts of equal bins; NaN when either is empty.
double auc_of(const std::vector<std::int64_t>& clean, const std::vector<std::int64_t>& corrupted);

}  // namespace trireme::worker::stages::train
