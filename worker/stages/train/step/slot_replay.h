// The way of a slot's rows through the towers and back on a GPU, recorded once per shape as two CUDA graphs
// (worker/kernels/replay/replay.h) and replayed from then on: two starts by the host instead of thousands.
// What lies between them (the loss of the global batch, what ranks say to each other) and the update behind
// them run as they are.
//
// A shape is recorded when it comes for the second time, two shapes per slot: each holds its activations for
// good. The first replay, forward and back, is compared with the pass itself on the same rows; one that
// differs, or a pass that cannot be recorded, leaves that shape to run as it is, with a warning. The pass
// must be the same work for the same shapes (Learner::repeats()).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <shared_mutex>
#include <string>
#include <vector>

#include "worker/stages/train/step/learner.h"

namespace trireme::worker::stages::train {

class SlotReplay {
 public:
  using Forward = std::function<SlotOutput(const SlotInput&)>;
  // Gradients of all leaves at `output` into `flat`; `keep`: the graph of `output` stays for another time.
  using Backward =
      std::function<void(const SlotOutput& output, const SlotSlopes& slopes, bool keep, at::Tensor& flat)>;

  explicit SlotReplay(std::int64_t slots) : slots_(static_cast<std::size_t>(slots)) {}

  // pass(input); its rows have no graph where they were replayed. One thread per slot; nothing else computes
  // while one records.
  SlotOutput forward(std::int64_t slot, const SlotInput& input, const Forward& pass);
  // For what forward() of this slot gave last.
  void backward(std::int64_t slot, const SlotOutput& output, const SlotSlopes& slopes, const Backward& pass,
                at::Tensor& flat);

 private:
  struct Recording {
    bool seen = false, refused = false;
    SlotInput input;
    SlotOutput output;
    SlotSlopes slopes;
    at::Tensor flat;
    std::function<void()> forward, backward;  // graphs
  };
  struct Slot {
    std::map<std::vector<std::int64_t>, Recording> recordings;
    Recording* current = nullptr;  // what forward() has replayed, or recorded
  };

  Recording* recording_of(Slot& slot, const SlotInput& input) const;
  SlotOutput record_forward(Slot& slot, Recording& recording, const SlotInput& input, const Forward& pass);
  void record_backward(Slot& slot, Recording& recording, const SlotOutput& output, const SlotSlopes& slopes,
                       const Backward& pass, at::Tensor& flat);
  static void refuse(Slot& slot, Recording& recording, const std::string& why);

  std::vector<Slot> slots_;
  std::shared_mutex computing_;  // shared by those who compute
};

}  // namespace trireme::worker::stages::train
