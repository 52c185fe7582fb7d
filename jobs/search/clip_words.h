// The words of clip-retrieval's back end (clip_back.py of clip-retrieval 2.45): its requests as ours, our
// answers as its.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jobs/search/query.h"

namespace trireme::jobs {

// A body of /knn-service as the query that it stands for. Throws kInvalid.
SearchQuery query_of_knn(const std::string& body);
// An answer of ours (docs/search.md) in its words.
std::string knn_of_answer(const std::string& answer);

// What it tells of an item that is described as a hit is: columns, key, caption, url.
std::string words_of_item(const std::string& item);

// The rows that a body of /metadata asks for. Throws kInvalid.
struct MetadataCall {
  std::string index;
  std::vector<std::int64_t> rows;
};
MetadataCall metadata_call(const std::string& body);

}  // namespace trireme::jobs
