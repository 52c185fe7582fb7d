#include "worker/stages/train/step/slot_replay.h"

#include <ATen/ATen.h>

#include <mutex>

#include "common/base/log.h"
#include "worker/kernels/replay/replay.h"

namespace trireme::worker::stages::train {
namespace {

constexpr std::size_t kMostShapes = 2;

// What a pass reads on the device, in a fixed order; some may be undefined.
std::vector<at::Tensor*> tensors_of(SlotInput& input) {
  return {&input.image_BCHW,       &input.image_features_BT, &input.tokens_BL,
          &input.text_features_BT, &input.caption_tokens_BL, &input.caption_features_BT};
}

std::vector<std::int64_t> key_of(SlotInput input) {
  std::vector<std::int64_t> key;
  for (const at::Tensor* tensor : tensors_of(input)) {
    key.push_back(tensor->defined() ? static_cast<std::int64_t>(tensor->scalar_type()) : -1);
    if (tensor->defined()) key.insert(key.end(), tensor->sizes().begin(), tensor->sizes().end());
  }
  return key;
}

bool on_recording_device(SlotInput input) {
  for (const at::Tensor* tensor : tensors_of(input))
    if (tensor->defined() && tensor->numel() > 0) return kernels::can_record(tensor->device());
  return false;
}

SlotInput copy_of(SlotInput input) {
  for (at::Tensor* tensor : tensors_of(input))
    if (tensor->defined()) *tensor = tensor->clone();
  return input;
}

// Rows alone: sums, counts and statistics would need tensors of the host.
bool rows_alone(const SlotOutput& output) {
  return !output.sum_H.defined() && !output.count_H.defined() && !output.statistics.defined();
}

bool same_rows(const SlotOutput& replayed, const SlotOutput& expected) {
  const at::NoGradGuard no_grad;
  if (replayed.rows_BD.size() != expected.rows_BD.size()) return false;
  for (std::size_t p = 0; p < expected.rows_BD.size(); ++p)
    if (!kernels::same_numbers(replayed.rows_BD[p], expected.rows_BD[p])) return false;
  return true;
}

}  // namespace

SlotReplay::Recording* SlotReplay::recording_of(Slot& slot, const SlotInput& input) const {
  if (!on_recording_device(input)) return nullptr;
  auto key = key_of(input);
  if (slot.recordings.size() >= kMostShapes && !slot.recordings.contains(key)) return nullptr;
  Recording& recording = slot.recordings[std::move(key)];
  return recording.refused ? nullptr : &recording;
}

SlotOutput SlotReplay::forward(std::int64_t slot, const SlotInput& input, const Forward& pass) {
  Slot& own = slots_[static_cast<std::size_t>(slot)];
  own.current = nullptr;
  Recording* const recording = recording_of(own, input);
  if (recording != nullptr && recording->seen && recording->backward == nullptr)
    return record_forward(own, *recording, input, pass);
  const std::shared_lock lock(computing_);
  if (recording == nullptr || !recording->seen) {
    if (recording != nullptr) recording->seen = true;
    return pass(input);
  }
  SlotInput from = input;
  const auto sources = tensors_of(from), targets = tensors_of(recording->input);
  for (std::size_t i = 0; i < targets.size(); ++i)
    if (targets[i]->defined()) targets[i]->copy_(*sources[i]);
  recording->forward();
  own.current = recording;
  SlotOutput output;
  for (const auto& rows : recording->output.rows_BD) output.rows_BD.push_back(rows.detach());
  return output;
}

SlotOutput SlotReplay::record_forward(Slot& slot, Recording& recording, const SlotInput& input,
                                      const Forward& pass) {
  const std::unique_lock lock(computing_);
  SlotOutput expected = pass(input);
  if (!rows_alone(expected)) {
    refuse(slot, recording, "it gives more than rows");
    return expected;
  }
  recording.input = copy_of(input);
  std::string why;
  recording.forward = kernels::record(
      expected.rows_BD.front().device(), [pass, &recording] { recording.output = pass(recording.input); },
      why);
  if (recording.forward == nullptr) {
    refuse(slot, recording, why);
    return expected;
  }
  recording.forward();
  if (same_rows(recording.output, expected))
    slot.current = &recording;
  else
    refuse(slot, recording, "its replay gives other rows");
  return expected;
}

void SlotReplay::backward(std::int64_t slot, const SlotOutput& output, const SlotSlopes& slopes,
                          const Backward& pass, at::Tensor& flat) {
  Slot& own = slots_[static_cast<std::size_t>(slot)];
  Recording* const recording = std::exchange(own.current, nullptr);
  if (recording != nullptr && recording->backward == nullptr)
    return record_backward(own, *recording, output, slopes, pass, flat);
  const std::shared_lock lock(computing_);
  if (recording == nullptr) return pass(output, slopes, false, flat);
  const at::NoGradGuard no_grad;
  for (std::size_t p = 0; p < slopes.rows_BD.size(); ++p)
    recording->slopes.rows_BD[p].copy_(slopes.rows_BD[p]);
  recording->backward();
  flat.copy_(recording->flat);
}

// The forward recording was replayed on this step's rows: its activations are there.
void SlotReplay::record_backward(Slot& slot, Recording& recording, const SlotOutput& output,
                                 const SlotSlopes& slopes, const Backward& pass, at::Tensor& flat) {
  const std::unique_lock lock(computing_);
  pass(output, slopes, false, flat);
  recording.slopes = {};
  for (const auto& rows : slopes.rows_BD)
    recording.slopes.rows_BD.push_back(rows.to(output.rows_BD.front().device()).clone());
  recording.flat = at::empty_like(flat);
  std::string why;
  recording.backward = kernels::record(
      flat.device(), [pass, &recording] { pass(recording.output, recording.slopes, true, recording.flat); },
      why);
  if (recording.backward == nullptr) return refuse(slot, recording, why);
  recording.backward();
  if (!kernels::same_numbers(recording.flat, flat))
    refuse(slot, recording, "its replay gives other gradients");
}

void SlotReplay::refuse(Slot& slot, Recording& recording, const std::string& why) {
  log_warning("replay", "a slot's pass is not replayed as CUDA graphs: " + why);
  slot.current = nullptr;
  recording = Recording{.seen = true, .refused = true};
}

}  // namespace trireme::worker::stages::train
