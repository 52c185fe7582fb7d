// Tables of image paths and captions as text: rows of fields (.csv, .tsv, RFC 4180 quotes) and what their
// header tells. The worker reads them whole, the planner their first line.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::jobs {

// Rows of fields. A quoted field may hold separators, quotes (doubled) and line ends; \r\n and \n end a row;
// Blank lines are no rows. A quote that is never closed swallows the rest: its line goes into `open_quote`, 0
// when there is none.
struct TableRow {
  std::size_t line = 0;  // from 1
  std::vector<std::string> fields;
};
std::vector<TableRow> parse_table(std::string_view text, char separator, std::size_t& open_quote);

// Columns of a table and how they are found.
struct TableForm {
  char separator = ',';  // 0: JSON lines
  std::string image_column, caption_column;
};

// What is set: no separator where it is to be found out, no caption column where none is read.
struct TableWishes {
  std::string separator, image_column, caption_column;
  bool usual_names = false;  // look for other usual names of the columns, too
};

bool is_table_name(std::string_view path);       // .csv .tsv .jsonl .ndjson
bool is_json_lines_name(std::string_view path);  // .jsonl .ndjson

// From the first line ("\t" for .tsv and "," for .csv, unless another of , tab ; | alone gives both columns).
// Throws kInvalid naming `path`: UTF-16, no such column (and what there is), an empty file.
TableForm table_form(std::string_view text, const std::string& path, const TableWishes& wishes);

std::string separator_name(char separator);  // "tabs", "commas", …

}  // namespace trireme::jobs
