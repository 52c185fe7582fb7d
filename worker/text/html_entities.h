// Character references of HTML in captions: "&amp;" -> "&", "&#39;" -> "'", "&eacute" -> "é".
#pragma once

#include <string>
#include <string_view>

namespace trireme::worker::text {

// One pass, as Python's html.unescape(): numeric references, the 2,125 names of HTML 5, and the longest known
// prefix for those that browsers accept without a semicolon. Other names stay as they are.
std::string unescape_html(std::string_view utf8);

}  // namespace trireme::worker::text
