#include "worker/evaluation/rank_correlation.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>

#include "common/base/error.h"
#include "common/base/random.h"

namespace trireme::worker::evaluation {
namespace {

constexpr std::size_t kFewestQueries = 20;

std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return values[i]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0, last = 0; first < order.size(); first = last) {
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    for (std::size_t i = first; i < last; ++i) ranks[order[i]] = static_cast<double>(first + last - 1) / 2;
  }
  return ranks;
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

double spearman(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size() || a.size() < 2)
    throw Error(ErrorKind::kInvalid,
                "a rank correlation needs two lists of one length, of two numbers or more: " +
                    std::to_string(a.size()) + " and " + std::to_string(b.size()));
  const auto finite = [](double value) { return std::isfinite(value); };
  if (!std::ranges::all_of(a, finite) || !std::ranges::all_of(b, finite))
    throw Error(ErrorKind::kInvalid, "a rank correlation of similarities or ratings that are not finite",
                "the model's weights or a picture's embedding hold NaN: trireme weights inspect");
  const auto x = ranks_of(a), y = ranks_of(b);
  const double mean = mean_of(x);  // of both
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  if (xx == 0 || yy == 0)
    throw Error(ErrorKind::kInvalid, std::string("all ") + (xx == 0 ? "similarities" : "ratings") +
                                         " are equal, so that nothing can be said of their order");
  return xy / std::sqrt(xx * yy);
}

Bootstrap bootstrapped_spearman(const std::vector<std::int64_t>& query_P, const std::vector<double>& score_P,
                                const std::vector<double>& rating_P, std::uint64_t seed, int rounds) {
  if (query_P.size() != score_P.size() || query_P.size() != rating_P.size() || rounds < 1)
    throw Error(ErrorKind::kInvalid, "a bootstrap needs one query, score and rating per pair");
  std::map<std::int64_t, std::vector<std::size_t>> by_query;
  for (std::size_t i = 0; i < query_P.size(); ++i) by_query[query_P[i]].push_back(i);
  std::vector<const std::vector<std::size_t>*> queries;
  for (const auto& [query, pairs] : by_query) queries.push_back(&pairs);
  if (queries.size() < kFewestQueries)
    throw Error(ErrorKind::kInvalid, "a bootstrap over " + std::to_string(queries.size()) +
                                         " queries, of which half are drawn, says nothing");
  const std::size_t half = queries.size() / 2;
  std::vector<double> reached, scores(half), ratings(half);
  for (int round = 0; round < rounds; ++round) {
    RandomStream random(seed, RandomPurpose::kProbeDraw, static_cast<std::uint64_t>(round), 1);
    for (std::size_t i = 0; i < half; ++i) {
      std::swap(queries[i], queries[i + random.below(queries.size() - i)]);
      const std::size_t pair = (*queries[i])[random.below(queries[i]->size())];
      scores[i] = score_P[pair];
      ratings[i] = rating_P[pair];
    }
    reached.push_back(spearman(scores, ratings));
  }
  const double mean = mean_of(reached);
  double square = 0;
  for (const double value : reached) square += (value - mean) * (value - mean);
  return {mean, rounds < 2 ? 0 : std::sqrt(square / (rounds - 1))};
}

}  // namespace trireme::worker::evaluation
