// Any bytes as a table, its first line as the names of columns, and as a list of lines. Seeds: small .csv,
// .tsv and .jsonl.
#include <cstdlib>

#include "common/base/error.h"
#include "jobs/layouts/line_list.h"
#include "jobs/layouts/table_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trireme;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char separator : {',', '\t', ';'}) {
    std::size_t open_quote = 0, bytes = 0;
    for (const auto& row : jobs::parse_table(text, separator, open_quote))
      for (const auto& field : row.fields) bytes += field.size();
    if (bytes > size) std::abort();
  }
  for (const char* name : {"a.csv", "a.tsv", "a.jsonl"}) {
    try {
      jobs::table_form(text, name,
                       {.image_column = "filepath", .caption_column = "title", .usual_names = true});
      jobs::parse_line_list(text, name);
    } catch (const Error&) {
    }
  }
  return 0;
}
