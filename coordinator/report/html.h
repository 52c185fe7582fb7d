// Text into HTML, safely: whatever comes from data goes through escape().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::coordinator::report {

// & < > " ' as entities; control characters and invalid UTF-8 made visible.
std::string escape(std::string_view text);

// A table; cells are escaped, numbers-looking columns after the first are right-aligned.
std::string table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows);

// A page up to and with <body>, in the style of all reports; `more_style` is CSS.
std::string page_head(const std::string& title, const std::string& more_style = "");

// Text of several lines in <pre>.
std::string preformatted(std::string_view text);

// 12345678 -> "12,345,678"; 0.12345 -> "0.1235".
std::string with_commas(std::int64_t value);
std::string rounded(double value, int digits = 4);

}  // namespace trireme::coordinator::report
