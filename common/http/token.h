// The bearer token: 256 random bits as 64 hex digits in a file that only its owner reads.
#pragma once

#include <string>
#include <string_view>

#include "common/io/file.h"

namespace trireme::http {

// Reads the token, or makes one (OpenSSL's generator, mode 0600). Throws kInvalid when others may read the
// file or it holds something else.
std::string read_or_make_token(const io::Path& file);

// 256 random bits as 64 hex digits.
std::string random_hex();

// Takes the same time wherever the two differ.
bool same_token(std::string_view given, std::string_view expected);

}  // namespace trireme::http
