// How the answers of an index's parts become one: pure.
#pragma once

#include <cstdint>
#include <vector>

#include <nlohmann/json.hpp>

namespace trireme::coordinator::serve {

// Best first; of equal scores the one that stood first.
void sort_hits(std::vector<nlohmann::ordered_json>& hits);

// Of hits with embeddings, best first, those that are no nearer than `cosine` to one before; at most
// `wanted`.
std::vector<nlohmann::ordered_json> distinct_hits(std::vector<nlohmann::ordered_json> hits, double cosine,
                                                  std::int64_t wanted);

}  // namespace trireme::coordinator::serve
