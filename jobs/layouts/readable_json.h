// JSON as other programs write it.
#pragma once

#include <string>

namespace trireme::jobs {

// What Python's json writes and JSON does not know: NaN and infinities become null; a byte order mark goes.
// Anything else stays as it is, damage too.
std::string readable_json(std::string json);

}  // namespace trireme::jobs
