// JSON as other programs write it.
#pragma once

#include <string>

namespace trireme::jobs {

// What Python's json writes and others do not read: NaN, infinities and numbers beyond a double become null,
// whole numbers beyond 64 bits doubles, halves of surrogate pairs U+FFFD; a byte order mark goes. Anything
// else stays as it is, damage too.
std::string readable_json(std::string json);

}  // namespace trireme::jobs
