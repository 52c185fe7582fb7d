// CUDA graphs for replay.h, in the CUDA plug-in.
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <exception>
#include <memory>

#include "worker/kernels/replay/replay.h"

namespace trireme::worker::kernels {
namespace {

// On a stream of its own, as the default one cannot be recorded; the same for all, because the way back runs
// on the streams of the way there. Other threads go on meanwhile: only what this one does is refused while
// recording.
std::function<void()> capture(const at::Device& device, const std::function<void()>& work, std::string& why) {
  try {
    static const auto stream =
        c10::cuda::getStreamFromPool(false, device.index());  // a process has one device
    auto graph = std::make_shared<at::cuda::CUDAGraph>();
    const c10::cuda::CUDAStreamGuard guard(stream);
    c10::cuda::device_synchronize();
    work();
    c10::cuda::device_synchronize();
    graph->capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      try {
        graph->capture_end();
      } catch (const std::exception&) {  // the first reason is the one to tell
      }
      throw;
    }
    graph->capture_end();
    return [graph] { graph->replay(); };
  } catch (const std::exception& failure) {
    why = failure.what();
    return nullptr;
  }
}

}  // namespace
}  // namespace trireme::worker::kernels

TORCH_LIBRARY_IMPL(trireme, CUDA, library) {
  using namespace trireme::worker::kernels;
  static constexpr ReplayTable kTable{&capture};
  library.impl(ReplayTable::kOperator, [] { return reinterpret_cast<std::int64_t>(&kTable); });
}
