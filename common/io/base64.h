// RFC 4648 base64 with padding, for pictures inside JSON and HTML.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace trireme::io {

std::string base64(std::string_view bytes);
// Nothing when it is not base64. Line breaks are no part of it.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace trireme::io
