// How a model's similarities follow people's ratings (METHODS 3.5, 7.5). Legend: P rated pairs.
#pragma once

#include <cstdint>
#include <vector>

namespace trireme::worker::evaluation {

// Spearman's rho: Pearson's correlation of the ranks, equal values sharing the mean of theirs (as scipy's
// spearmanr). Throws kInvalid where the lists differ in length, hold fewer than two numbers, a number that is
// not finite, or one number alone, of which there is no correlation.
double spearman(const std::vector<double>& a, const std::vector<double>& b);

struct Bootstrap {
  double mean = 0, deviation = 0;  // over the rounds; n - 1
};

// Crisscrossed Captions': each of `rounds` draws half of the queries (rounded down, at least two) without
// putting back, for each one of its rated pairs, and takes Spearman's rho of those. query_P: what a pair's
// query is. A pure function of (seed, rounds, inputs). Throws kInvalid as spearman(), and with fewer than
// 20 queries.
Bootstrap bootstrapped_spearman(const std::vector<std::int64_t>& query_P, const std::vector<double>& score_P,
                                const std::vector<double>& rating_P, std::uint64_t seed, int rounds = 1000);

}  // namespace trireme::worker::evaluation
