#include "worker/search/recall.h"
#include "worker/kernels/threads.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

namespace trireme::worker::search {
namespace {

constexpr std::int64_t kLookedFor = 10, kLeastCandidates = 100, kCandidatesPerHit = 4;

std::vector<std::int64_t> without(const std::vector<Hit>& hits, std::int64_t own) {
  std::vector<std::int64_t> rows;
  for (const Hit& hit : hits)
    if (hit.row != own && rows.size() < static_cast<std::size_t>(kLookedFor)) rows.push_back(hit.row);
  return rows;
}

}  // namespace

std::vector<Hit> ranked_candidates(const ExactIndex& exact, const Lists& lists, const at::Tensor& query_D,
                                   std::int64_t probes, std::int64_t k) {
  const auto wanted = std::max(kLeastCandidates, kCandidatesPerHit * k);
  std::vector<std::int64_t> rows;
  for (const Hit& hit : lists.candidates(query_D, probes, wanted)) rows.push_back(hit.row);
  const auto scores = exact.scores(query_D, rows);
  std::vector<Hit> hits;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (std::isfinite(scores[i])) hits.push_back({rows[i], scores[i]});
  std::sort(hits.begin(), hits.end(), is_better);
  if (hits.size() > static_cast<std::size_t>(k)) hits.resize(static_cast<std::size_t>(k));
  return hits;
}

Promise measured_promise(const ExactIndex& exact, const Lists& lists, const at::Tensor& query_QD,
                         const std::vector<std::int64_t>& own, double least_recall,
                         const std::function<void()>& poll) {
  if (own.empty()) return {0, lists.lists(), 1};
  poll();
  const auto truth = exact.search(query_QD, kLookedFor + 1);
  Promise promise{static_cast<std::int64_t>(own.size()), 0, 0};
  for (std::int64_t probes = 1;; probes = std::min(lists.lists(), std::max(probes + 1, probes * 5 / 4))) {
    poll();
    std::vector<std::int64_t> found(own.size()), of(own.size());
    kernels::over_threads(
        0, static_cast<std::int64_t>(own.size()), [&](std::int64_t begin, std::int64_t end) {
          const at::NoGradGuard no_gradients;
          for (std::int64_t q = begin; q < end; ++q) {
            const auto at = static_cast<std::size_t>(q);
            const auto wanted = without(truth[at], own[at]);
            const auto hits =
                without(ranked_candidates(exact, lists, query_QD[q], probes, kLookedFor + 1), own[at]);
            of[at] = static_cast<std::int64_t>(wanted.size());
            for (const auto row : hits)
              found[at] += std::find(wanted.begin(), wanted.end(), row) != wanted.end();
          }
        });
    double sum = 0, all = 0;
    for (std::size_t q = 0; q < own.size(); ++q)
      sum += static_cast<double>(found[q]), all += static_cast<double>(of[q]);
    promise.probes = probes;
    promise.recall = all > 0 ? sum / all : 1;
    if (promise.recall >= least_recall || probes == lists.lists()) return promise;
  }
}

}  // namespace trireme::worker::search
