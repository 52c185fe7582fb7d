// Text for people: durations, counts, bars and tables.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme::coordinator::cli {

std::string duration_text(double seconds);          // "41 s", "3 min 05 s", "2 h 10 min"
std::string count_text(std::int64_t value);         // "12,345"
std::string number_text(double value, int digits);  // fixed, "-" for NaN
std::string bytes_text(std::uint64_t bytes);        // "1.5 GiB"
std::string bar(double share, int width);           // "[######----]"

// Columns as wide as their widest cell, the first row is the header; numbers (first character a digit) to the
// right.
std::string table_text(const std::vector<std::vector<std::string>>& rows);

// Text of several lines, each made printable, those after the first indented.
std::string printable_lines(const std::string& text);

}  // namespace trireme::coordinator::cli
