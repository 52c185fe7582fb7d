#include "coordinator/serve/merging.h"

#include <algorithm>
#include <numeric>

namespace trireme::coordinator::serve {

using nlohmann::ordered_json;

std::vector<ordered_json> distinct_hits(std::vector<ordered_json> hits, double cosine, std::int64_t wanted) {
  std::vector<ordered_json> kept;
  std::vector<std::vector<float>> rows;
  for (auto& hit : hits) {
    if (static_cast<std::int64_t>(kept.size()) == wanted) break;
    auto row = hit.at("embedding").get<std::vector<float>>();
    const bool copy = std::ranges::any_of(rows, [&](const auto& other) {
      return std::inner_product(row.begin(), row.end(), other.begin(), 0.0F) >= static_cast<float>(cosine);
    });
    if (copy) continue;
    rows.push_back(std::move(row));
    kept.push_back(std::move(hit));
  }
  return kept;
}

void sort_hits(std::vector<ordered_json>& hits) {
  std::ranges::stable_sort(hits, [](const ordered_json& a, const ordered_json& b) {
    return a.at("score").get<float>() > b.at("score").get<float>();
  });
}

}  // namespace trireme::coordinator::serve
