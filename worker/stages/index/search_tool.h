// `trireme search RUN "text"`: exact cosine search in the index of a run by text, picture, or texts and
// pictures added and subtracted. The query is the normalised sum of the signed unit embeddings of its parts
// (ALIGN's image ± text queries). Prints rank, score, key and caption, and writes a contact sheet. Lives here
// and not in worker/search because it needs models and shards.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/models/dual_encoder.h"
#include "worker/stages/index/search_options.h"

namespace trireme::worker::stages::index {

// argv[0] is the tool's name, the options follow. Returns 0; throws Error (kUsage, kNotFound, kInvalid …).
int run_search(int argc, char** argv);

// [1, D], norm 1. Throws kNotFound / kInvalid naming a picture that cannot be read, kInvalid when the parts
// cancel out.
at::Tensor embed_query(models::DualEncoder& model, const std::vector<QueryPart>& parts);

// "a dog + cat.jpg - snow"
std::string query_text(const std::vector<QueryPart>& parts);

}  // namespace trireme::worker::stages::index
