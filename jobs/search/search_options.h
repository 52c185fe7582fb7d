// Command line of `trireme search`, for the command (which asks a running service) and for the worker's tool.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jobs/search/query.h"

namespace trireme::jobs {

struct SearchOptions {
  std::string run;    // run folder or index folder
  SearchQuery query;  // pictures by their paths until read_pictures()
  std::string batch;  // file of queries, one JSON object per line, "-": standard input; "": none
  bool json = false;
  std::string html;     // "": search.html in the run folder; "none": no page
  bool service = true;  // false: a service that runs is not asked
};

extern const char* const kSearchUsage;

// `arguments`: everything after "search". Throws kUsage.
SearchOptions parse_search(const std::vector<std::string>& arguments);

// Reads the files that image parts name. Throws naming the file.
void read_pictures(SearchQuery& query);

// The answer (JSON, docs/search.md) as a table for people.
std::string answer_text(const std::string& answer);

}  // namespace trireme::jobs
