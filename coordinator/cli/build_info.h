// Which program this is. The commit is asked of git when the program is built (BuildInfo.cmake).
#pragma once

#include <string>

namespace trireme::coordinator::cli {

std::string build_commit();  // "76b65f2d8a31", "76b65f2d8a31-dirty"; "unknown" outside a git checkout

}  // namespace trireme::coordinator::cli
