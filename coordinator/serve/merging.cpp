#include "coordinator/serve/merging.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/base/error.h"
#include "common/base/log.h"

namespace trireme::coordinator::serve {

using nlohmann::ordered_json;

std::vector<float> unit_sum(const std::vector<jobs::QueryPart>& query,
                            const std::vector<std::vector<float>>& rows) {
  std::vector<double> sum(rows.front().size());
  for (std::size_t i = 0; i < query.size(); ++i) {
    if (rows[i].size() != sum.size())
      throw Error(ErrorKind::kInvalid, "the parts of the query are embeddings of " +
                                           std::to_string(sum.size()) + " and of " +
                                           std::to_string(rows[i].size()) + " numbers");
    for (std::size_t d = 0; d < sum.size(); ++d) sum[d] += query[i].weight * static_cast<double>(rows[i][d]);
  }
  const double norm = std::sqrt(std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0));
  if (!std::isfinite(norm) || norm < 1e-6)
    throw Error(ErrorKind::kInvalid,
                "the parts of the query cancel out: " + printable(jobs::query_text(query), 200),
                "leave one of them out");
  std::vector<float> unit;
  for (const double value : sum) unit.push_back(static_cast<float>(value / norm));
  return unit;
}

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
