// The files that other tasks left for this one, by role (jobs::InputFile).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "jobs/protocol/messages.h"

namespace trireme::worker::runtime {

std::vector<jobs::InputFile> inputs_of(const jobs::Task& task, std::string_view role);
std::vector<std::string> input_paths(const jobs::Task& task, std::string_view role);

// The path of the only input with that role; throws kInternal naming task and role when there is none or
// more.
std::string input_path(const jobs::Task& task, std::string_view role);

// Of a map task; throws kInternal when it names no shard.
const jobs::ShardRef& shard_of(const jobs::Task& task);

}  // namespace trireme::worker::runtime
