// What a worker says of where it computes, in Hello::device: "cuda:0 NVIDIA H200", "cpu", or the CPU because
// the GPU beside it cannot be used, and why.
#pragma once

#include <string>
#include <string_view>

namespace trireme::jobs {

inline constexpr std::string_view kCpuBesideGpu = "cpu, not its GPU: ";

inline std::string cpu_beside_gpu(const std::string& why) {
  return std::string(kCpuBesideGpu) + why;
}
inline bool is_cpu_beside_gpu(const std::string& device) {
  return device.starts_with(kCpuBesideGpu);
}
inline bool is_gpu(const std::string& device) {
  return device.starts_with("cuda:");
}

}  // namespace trireme::jobs
