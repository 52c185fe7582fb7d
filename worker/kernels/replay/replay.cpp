#include "worker/kernels/replay/replay.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "worker/kernels/sent.h"

namespace trireme::worker::kernels {
namespace {

constexpr std::size_t kMostShapes = 64;  // each keeps its activations
constexpr double kSameRelative = 1e-3;   // of the largest number: other algorithms may round otherwise

std::vector<std::int64_t> key_of(const at::Tensor& input) {
  const auto device = input.device().type();
  const bool autocast = at::autocast::is_autocast_enabled(device);
  std::vector<std::int64_t> key = {
      static_cast<std::int64_t>(input.scalar_type()),
      autocast ? static_cast<std::int64_t>(at::autocast::get_autocast_dtype(device)) : -1};
  key.insert(key.end(), input.sizes().begin(), input.sizes().end());
  return key;
}

// Casts of weights belong into the recording: one that the process keeps would be gone when it is replayed.
class CastsAreNotKept {
 public:
  CastsAreNotKept() : before_(at::autocast::is_autocast_cache_enabled()) {
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~CastsAreNotKept() { at::autocast::set_autocast_cache_enabled(before_); }
  CastsAreNotKept(const CastsAreNotKept&) = delete;
  CastsAreNotKept& operator=(const CastsAreNotKept&) = delete;

 private:
  bool before_;
};

}  // namespace

bool can_record(const at::Device& device) {
  const auto* const own = device_table<ReplayTable>(device);
  return own != nullptr && own->record != nullptr;
}

bool can_replay(const at::Device& device) {
  return can_record(device) && !at::GradMode::is_enabled();
}

std::function<void()> record(const at::Device& device, const std::function<void()>& work, std::string& why) {
  const CastsAreNotKept casts;
  const NothingIsSent nothing_sent;
  try {
    return device_table<ReplayTable>(device)->record(device, work, why);
  } catch (const Error& error) {
    why = error.what();
    return nullptr;
  }
}

bool same_numbers(const at::Tensor& replayed, const at::Tensor& expected) {
  const at::Tensor a = replayed.to(at::kFloat), b = expected.to(at::kFloat);
  return (a - b).abs().max().item<double>() <= kSameRelative * b.abs().max().item<double>();  // false for NaN
}

at::Tensor Replay::run(const at::Tensor& input, const Pass& pass) {
  if (!can_replay(input.device()) || input.numel() == 0) return pass(input);
  const std::lock_guard lock(mutex_);
  const auto key = key_of(input);
  if (recordings_.size() >= kMostShapes && !recordings_.contains(key)) return pass(input);
  Recording& recording = recordings_[key];
  if (recording.refused) return pass(input);
  if (!recording.seen) {
    recording.seen = true;
    return pass(input);
  }
  if (recording.graph == nullptr) return record(recording, input, pass);
  recording.input.copy_(input);
  recording.graph();
  return recording.output.clone();
}

at::Tensor Replay::record(Recording& recording, const at::Tensor& input, const Pass& pass) {
  at::Tensor expected = pass(input);
  recording.input = input.clone();
  std::string why;
  recording.graph = kernels::record(
      input.device(), [&] { recording.output = pass(recording.input); }, why);
  if (recording.graph != nullptr) {
    recording.graph();
    if (same_numbers(recording.output, expected)) return expected;
    why = "its replay gives other numbers";
  }
  log_warning("replay", "a forward pass is not replayed as a CUDA graph: " + why);
  recording = Recording{.seen = true, .refused = true};
  return expected;
}

void Replay::forget() {
  recordings_.clear();
}

}  // namespace trireme::worker::kernels
