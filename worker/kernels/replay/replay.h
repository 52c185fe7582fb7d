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
#include <mutex>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/kernels/device_table.h"

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
    std::function<void()> graph;
  };
  at::Tensor record(Recording& recording, const at::Tensor& input, const Pass& pass);

  std::mutex mutex_;
  std::map<std::vector<std::int64_t>, Recording> recordings_;
};

// Whether run() would record on this device; then inputs may be padded to few shapes.
bool can_replay(const at::Device& device);

// What Replay is made of. Whether work on this device can be recorded at all, also with gradients.
bool can_record(const at::Device& device);
// `work` as a graph, which a call replays; null and why where that cannot be. Casts of weights are part of
// it; what it sends from the host (sent.h) cannot be. It has run, once or more, and its tensors keep their
// places.
std::function<void()> record(const at::Device& device, const std::function<void()>& work, std::string& why);
// Within what other algorithms may round otherwise. Looks at the device.
bool same_numbers(const at::Tensor& replayed, const at::Tensor& expected);

// A device's own way (device_table.h): CUDA's, in the plug-in. `record` runs `work` once to warm up and once
// while recording, and returns the graph, or null and why. A call starts it on the current stream; it writes
// where the recorded run did.
struct ReplayTable {
  static constexpr const char* kOperator = TRIREME_TABLE("replay");
  std::function<void()> (*record)(const at::Device& device, const std::function<void()>& work,
                                  std::string& why) = nullptr;
};

}  // namespace trireme::worker::kernels
