// Where the workers of a job compute.
#pragma once

#include <array>
#include <string_view>

#include "common/base/enum_names.h"

namespace trireme::jobs {

// auto: on a GPU where one works, else on the CPU, with a warning where a GPU was to be had; cuda: on a GPU,
// and the task fails where none works.
enum class DevicePolicy { kAuto, kCpu, kCuda };
constexpr std::array<std::string_view, 3> names_of(DevicePolicy) {
  return {"auto", "cpu", "cuda"};
}

}  // namespace trireme::jobs
