// Lists whose position or presence is their meaning: class names, templates, vocabularies, lists of keys. One
// reader for all of them, so that no line is lost or moved without a word.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/io/file.h"

namespace trireme::jobs {

// The lines of a text: a byte order mark, "\r\n" and empty lines at the end are read over; `trim`: blanks
// around a line, too. Throws kInvalid naming `path` and the line: an empty line before the last one that is
// not, a line that is not UTF-8, UTF-16.
std::vector<std::string> parse_line_list(std::string_view text, const std::string& path, bool trim = true);
std::vector<std::string> read_line_list(const io::Path& path, bool trim = true,
                                        std::uint64_t limit_bytes = std::uint64_t{256} << 20);

// "" when all are distinct, else what to print: `path: "crane" stands in lines 135 and 518, and 1 more …`.
std::string repeated_lines(const std::vector<std::string>& lines, const std::string& path);

// Class names beside a shard or one folder up (classnames.txt), and prompts (zeroshot_classification_
// templates.txt); empty when there is no such file. A prompt without a place for the class name is kInvalid.
inline constexpr const char* kClassNamesFile = "classnames.txt";
inline constexpr const char* kTemplatesFile = "zeroshot_classification_templates.txt";
io::Path file_near(const io::Path& shard, const char* name);  // "" when there is none
std::vector<std::string> class_names_near(const io::Path& shard);
std::vector<std::string> class_templates_near(const io::Path& shard);

// Well-formed by RFC 3629.
bool is_utf8(std::string_view text);
// "UTF-16" …, or "" for bytes that may be UTF-8 or any 8-bit code.
std::string wide_encoding(std::string_view text);

// Throws kInvalid naming `path` when the text is UTF-16 or UTF-32.
void refuse_wide_text(std::string_view text, const std::string& path);

}  // namespace trireme::jobs
