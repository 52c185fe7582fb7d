// RFC 4648 base64 with padding, for pictures inside JSON and HTML.
#pragma once

#include <string>
#include <string_view>

namespace trireme::io {

std::string base64(std::string_view bytes);

}  // namespace trireme::io
