// What the loss sees of single pairs, gathered over the last epoch: similarities S_xt = x.t, S_xc = x.c, S_tc
// = t.c and ALIP's weights W^s, W^t, W^c and W^s W^t, as histograms of clean, corrupted and all other
// samples, and how well each tells clean from corrupted: AUC = P(clean > corrupted) + P(equal)/2. Counts of
// 2048 bins (values beyond a range fall into its end bins), so memory is constant, and the same bits for any
// number of ranks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/collective/group.h"
#include "worker/losses/alip_gates.h"
#include "worker/stages/train/trainable_model.h"
#include "worker/stages/train/truth.h"

namespace trireme::worker::stages::train {

inline constexpr std::int64_t kSignalBins = 2048, kShownBins = 64;

// Which signals a loss has; names "similarity.text", "weight.sample" …
struct SignalNames {
  std::vector<std::string> names;
  SignalNames(const std::string& texts, bool gated);  // LossSpec::texts
  std::int64_t size() const { return static_cast<std::int64_t>(names.size()); }
};

// Values of one slot's rows in the order of the names, float64 [signals, b] on the CPU. `gate_3b`: W^s, W^t,
// W^c; undefined without gates.
at::Tensor slot_signals(const losses::SlotEmbeddings& slot, const at::Tensor& gate_3b);

class SignalTally {
 public:
  explicit SignalTally(SignalNames names);

  // `values`: slot_signals() of own slots; `truth` one per row, row by row; rows that are not live do not
  // count. Collective: every rank ends with the counts of all. A value that is not finite is left out.
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
  SignalNames names_;
  at::Tensor counts_, sums_;
};

// P(clean > corrupted) + P(equal)/2 from counts of equal bins; NaN when either is empty.
double auc_of(const std::vector<std::int64_t>& clean, const std::vector<std::int64_t>& corrupted);

}  // namespace trireme::worker::stages::train
