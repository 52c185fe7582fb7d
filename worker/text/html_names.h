// Names of HTML's character references, sorted by bytes, separated by white space: "<name>=<code point>" or
// "<name>!<code point>" where browsers need no semicolon; hexadecimal, two code points joined by '+'.
#pragma once

#include <string_view>

namespace trireme::worker::text {

std::string_view html_names();

}  // namespace trireme::worker::text
