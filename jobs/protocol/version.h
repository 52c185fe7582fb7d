// The version of this program: that of project(VERSION) in CMakeLists.txt, which is its one place.
#pragma once

#include <string>

namespace trireme {

std::string version();  // "0.1.0"

}  // namespace trireme
