// How the answers of an index's parts become one: pure.
#pragma once

#include <cstdint>
#include <vector>

#include <nlohmann/json.hpp>

#include "jobs/search/query.h"

namespace trireme::coordinator::serve {

// The weighted sum of the parts' embeddings (in their order), of norm 1. Throws kInvalid where they cancel
// out or are of several widths.
std::vector<float> unit_sum(const std::vector<jobs::QueryPart>& query,
                            const std::vector<std::vector<float>>& rows);

// Best first; of equal scores the one that stood first.
void sort_hits(std::vector<nlohmann::ordered_json>& hits);

// Of hits with embeddings, best first, those that are no nearer than `cosine` to one before; at most
// `wanted`.
std::vector<nlohmann::ordered_json> distinct_hits(std::vector<nlohmann::ordered_json> hits, double cosine,
                                                  std::int64_t wanted);

}  // namespace trireme::coordinator::serve
