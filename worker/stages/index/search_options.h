// Command line of `trireme search` (trireme-worker tool search).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme::worker::stages::index {

// One part of a query: a text or a picture, added or subtracted.
struct QueryPart {
  bool image = false;
  double sign = 1;
  std::string value;  // text, or path of a picture
};

struct SearchOptions {
  std::string run;  // run folder or index folder
  std::vector<QueryPart> query;
  std::int64_t k = 10;
  bool json = false;
  std::string html;  // "": search.html in the run folder; "none": no page
};

extern const char* const kSearchUsage;

// `arguments`: everything after "search". Throws kUsage.
SearchOptions parse_search(const std::vector<std::string>& arguments);

}  // namespace trireme::worker::stages::index
