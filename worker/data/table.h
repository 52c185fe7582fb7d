// Tables of image paths and captions: .csv (commas) and .tsv (tabs), with a header row and RFC 4180 quotes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/file.h"

namespace trireme::worker::data {

// Rows of fields. A quoted field may hold separators, quotes (doubled) and line ends; \r\n and \n end a row;
// a quote left open ends with the text. Blank lines are no rows.
std::vector<std::vector<std::string>> parse_table(std::string_view text, char separator);

// One image of a table with all of its rows' captions, in order of first occurrence.
struct TableEntry {
  std::string image_path;  // as written
  std::vector<std::string> raw_captions;
};
struct Table {
  std::vector<TableEntry> entries;
  std::int64_t short_rows = 0;  // rows without one of the two columns, left out
};

// Throws kInvalid naming the table and its columns when one of the two is not there.
Table group_table(std::string_view text, const io::Path& path, const std::string& image_column,
                  const std::string& caption_column);

}  // namespace trireme::worker::data
