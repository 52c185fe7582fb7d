// Names of training checkpoints (jobs/protocol/FORMAT.md): <run>/ckpt/<stage>/step-00001234, and the folder
// beside it in which one is written.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/ids.h"

namespace trireme::store {

inline constexpr const char* kCheckpointManifest = "manifest.json";

std::string checkpoint_name(std::int64_t step);                                 // "step-00001234"
std::string checkpoint_aside_name(std::int64_t step, Incarnation incarnation);  // ".tmp-<step>-<incarnation>"
bool is_checkpoint_aside_name(const std::string& name);

}  // namespace trireme::store
