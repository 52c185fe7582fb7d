// A forward pass on a GPU, recorded once per shape of its input as a CUDA graph and then replayed: the host
// starts one graph where it started hundreds of kernels, which for short texts take less time than their
// start. On the CPU, with gradients, or without the CUDA plug-in, the pass simply runs.
//
// A shape is recorded when it comes for the second time, so that a last, smaller batch costs nothing. The
// first replay is compared with the pass itself; a recording that differs, or a pass that cannot be recorded
// (it waits for the device), leaves that shape to run as it is, with a warning.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::worker::kernels {

class Replay {
 public:
  // Reads the input and the model's weights, which stay where they are, and nothing that changes otherwise.
  using Pass = std::function<at::Tensor(const at::Tensor&)>;

  // pass(input). Thread-safe; recorded shapes run one at a time. Shapes, dtype and autocast of the thread
  // choose the recording.
  at::Tensor run(const at::Tensor& input, const Pass& pass);

  // Call it when weights have moved. Not beside run().
  void forget();

 private:
  struct Recording {
    bool seen = false, refused = false;
    at::Tensor input, output;
    std::shared_ptr<void> graph;
  };
  at::Tensor record(Recording& recording, const at::Tensor& input, const Pass& pass);

  std::mutex mutex_;
  std::map<std::vector<std::int64_t>, Recording> recordings_;
};

// Whether run() would record on this device; then inputs may be padded to few shapes.
bool can_replay(const at::Device& device);

// What Replay is made of. Whether work on this device can be recorded at all, also with gradients.
bool can_record(const at::Device& device);
// `work` as a graph, null and why where that cannot be; casts of weights are part of it. It has run, once or
// more, and its tensors keep their places.
std::shared_ptr<void> record(const std::function<void()>& work, std::string& why);
void replay(const std::shared_ptr<void>& graph);
// Within what other algorithms may round otherwise. Looks at the device.
bool same_numbers(const at::Tensor& replayed, const at::Tensor& expected);

// The CUDA side, in the plug-in. `record` runs `work` once to warm up and once while recording, and returns
// the graph, or null and why. `replay` starts it on the current stream; it writes where the recorded run did.
struct ReplayFunctions {
  at::DeviceType device = at::kCUDA;
  std::shared_ptr<void> (*record)(const std::function<void()>& work, std::string& why) = nullptr;
  void (*replay)(void* graph) = nullptr;
};
void set_replay(const ReplayFunctions& functions);

// What the plug-in exports under this name: fills ReplayFunctions.
constexpr const char* kReplayCudaSymbol = "trireme_replay_cuda";
using ReplayCudaFunction = void (*)(ReplayFunctions*);

}  // namespace trireme::worker::kernels
