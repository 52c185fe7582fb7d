// What a stage computes with.
#pragma once

#include <array>
#include <string_view>

#include "common/base/enum_names.h"

namespace trireme::jobs {

enum class Precision { kFloat32, kBf16 };  // the latter by autocast
constexpr std::array<std::string_view, 2> names_of(Precision) {
  return {"float32", "bf16"};
}

}  // namespace trireme::jobs
