// Tables of image paths and captions: .csv (commas) and .tsv (tabs), with a header row and RFC 4180 quotes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/file.h"

namespace trireme::worker::data {

// Rows of fields. A quoted field may hold separators, quotes (doubled) and line ends; \r\n and \n end a row;
// Blank lines are no rows. A quote that is never closed swallows the rest: its line goes into `open_quote`, 0
// when there is none.
struct TableRow {
  std::size_t line = 0;  // from 1
  std::vector<std::string> fields;
};
std::vector<TableRow> parse_table(std::string_view text, char separator, std::size_t& open_quote);

// One image of a table with all of its rows' captions, in order of first occurrence.
struct TableEntry {
  std::string image_path;  // as written
  std::vector<std::string> raw_captions;
};
struct Table {
  std::vector<TableEntry> entries;
  std::int64_t short_rows = 0;  // rows without one of the two columns, left out
  std::size_t first_short_line = 0;
};

// Throws kInvalid naming the table, and its columns when one of the two is not there, or the line of a quote
// that is never closed.
Table group_table(std::string_view text, const io::Path& path, const std::string& image_column,
                  const std::string& caption_column);

}  // namespace trireme::worker::data
