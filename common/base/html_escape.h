// Text from data into HTML: & < > " ' become entities, so that it can be neither markup nor the end of an
// attribute.
#pragma once

#include <string>
#include <string_view>

namespace trireme {

std::string escape_html(std::string_view text);

}  // namespace trireme
