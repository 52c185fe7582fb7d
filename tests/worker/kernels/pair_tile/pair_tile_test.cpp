// The tile kernels against their contract (pair_tile.h), entry by entry in float64.
#include "worker/kernels/pair_tile/pair_tile.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/base/random.h"

namespace trireme::worker::kernels {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

enum class Entry { kDead, kPositive, kNegative };

struct Case {
  PairTile tile;
  at::Tensor logits;  // float64 [rows, columns]
};

Entry entry_of(const Case& c, std::int64_t i, std::int64_t j) {
  const auto dead = [](const TileLines& lines, std::int64_t at) {
    return lines.live_n.defined() && lines.live_n[at].item<int>() == 0;
  };
  if (dead(c.tile.rows, i) || dead(c.tile.columns, j)) return Entry::kDead;
  const bool positive = c.tile.rows.label_n.defined() ? c.tile.rows.label_n[i].item<std::int64_t>() ==
                                                            c.tile.columns.label_n[j].item<std::int64_t>()
                                                      : c.tile.rows.first + i == c.tile.columns.first + j;
  return positive ? Entry::kPositive : Entry::kNegative;
}

Case make_case(std::uint64_t key) {
  RandomStream random(11, RandomPurpose::kTest, key);
  const auto below = [&](std::uint64_t bound) { return static_cast<std::int64_t>(random.below(bound)); };
  const std::int64_t rows = 1 + below(40), columns = 1 + below(40);
  Case c;
  c.logits = at::empty({rows, columns}, at::kDouble);
  for (std::int64_t i = 0; i < c.logits.numel(); ++i)
    c.logits.data_ptr<double>()[i] = random.normal() * (key % 2 == 0 ? 3 : 30);
  const auto lines = [&](std::int64_t n) {
    TileLines result{.first = 20 + below(20), .live_n = {}, .label_n = {}, .choice_n3 = {}};
    if (key % 3 == 0) {
      result.live_n = at::ones({n}, at::kByte);
      for (std::int64_t i = 0; i < n; ++i) result.live_n[i] = below(4) == 0 ? 0 : 1;
    }
    if (key % 5 == 0) {
      result.label_n = at::empty({n}, at::kLong);
      for (std::int64_t i = 0; i < n; ++i) result.label_n[i] = below(6);
    }
    return result;
  };
  c.tile.rows = lines(rows);
  c.tile.columns = lines(columns);
  c.tile.sigmoid = key % 4 == 3;
  c.tile.bias = c.tile.sigmoid ? random.uniform(-4, 4) : 0;
  c.tile.linear = !c.tile.sigmoid && key % 7 < 3;
  c.tile.beta = c.tile.sigmoid || key % 2 == 0 ? 0 : 0.5;
  c.tile.weight_gradient = key % 11 != 0;
  return c;
}

at::Tensor in_buffer(const at::Tensor& logits, at::ScalarType type) {
  at::Tensor buffer = tile_buffer(logits.size(0), logits.size(1), at::TensorOptions(type));
  return buffer.copy_(logits);
}

double softplus(double z) {
  return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z)));
}
double sigmoid(double z) {
  return 1 / (1 + std::exp(-z));
}

// What the statistics of one line mean, whatever maximum they are relative to.
std::vector<double> meaning(const at::Tensor& s_7, const PairTile& tile) {
  const auto at = [&](Statistic which) { return s_7[which].item<double>(); };
  if (tile.sigmoid) return {at(kNegativeLinear), at(kPositiveLinear)};
  const auto scaled = [](double sum, double exponent) { return sum == 0 ? kNone : std::log(sum) + exponent; };
  return {at(kNegativeMax),
          scaled(at(kNegativeHard), (1 + tile.beta) * at(kNegativeMax)),
          tile.beta > 0 ? scaled(at(kNegativeBase), tile.beta * at(kNegativeMax)) : 0,
          tile.linear ? at(kNegativeLinear) : 0,
          scaled(at(kPositiveSum), at(kPositiveMax)),
          at(kPositiveLinear)};
}

std::vector<double> defined_for(const Case& c, std::int64_t line, bool of_row) {
  double most = kNone, hard = 0, base = 0, linear = 0, positive = 0, positive_linear = 0;
  const auto others = c.logits.size(of_row ? 1 : 0);
  for (std::int64_t other = 0; other < others; ++other) {
    const auto i = of_row ? line : other, j = of_row ? other : line;
    const double s = c.logits[i][j].item<double>();
    const Entry entry = entry_of(c, i, j);
    if (entry == Entry::kPositive) {
      positive += std::exp(s);
      positive_linear += c.tile.sigmoid ? softplus(-s - c.tile.bias) : s;
    } else if (entry == Entry::kNegative) {
      most = std::max(most, s);
      hard += std::exp((1 + c.tile.beta) * s);
      base += std::exp(c.tile.beta * s);
      linear += c.tile.sigmoid ? softplus(s + c.tile.bias) : s;
    }
  }
  if (c.tile.sigmoid) return {linear, positive_linear};
  return {most,
          std::log(hard),
          c.tile.beta > 0 ? std::log(base) : 0,
          c.tile.linear ? linear : 0,
          std::log(positive),
          positive_linear};
}

void expect_near(const std::vector<double>& got, const std::vector<double>& want, double tolerance,
                 const std::string& where) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isinf(want[i]))
      EXPECT_EQ(got[i], want[i]) << where << ", number " << i;
    else
      EXPECT_NEAR(got[i], want[i], tolerance * std::max(1.0, std::abs(want[i]))) << where << ", number " << i;
  }
}

TEST(PairTile, StatisticsAreWhatTheContractSays) {
  for (std::uint64_t key = 0; key < 60; ++key)
    for (const auto type : {at::kDouble, at::kFloat}) {
      Case c = make_case(key);
      c.logits = c.logits.to(type).to(at::kDouble);
      at::Tensor rows = start_statistics(c.logits.size(0), at::kCPU),
                 columns = start_statistics(c.logits.size(1), at::kCPU);
      add_statistics(in_buffer(c.logits, type), c.tile, rows, columns);
      // A float32 sum is as good as its largest terms: 30 of them of up to 100.
      const double tolerance = type == at::kDouble ? 1e-12 : 3e-5;
      const std::string name = "case " + std::to_string(key);
      for (std::int64_t i = 0; i < rows.size(1); ++i)
        expect_near(meaning(rows.select(1, i), c.tile), defined_for(c, i, true), tolerance,
                    name + ", row " + std::to_string(i));
      for (std::int64_t j = 0; j < columns.size(1); ++j)
        expect_near(meaning(columns.select(1, j), c.tile), defined_for(c, j, false), tolerance,
                    name + ", column " + std::to_string(j));
    }
}

// Running statistics: tile by tile, in any cut and order, they are the statistics of the whole.
TEST(PairTile, StatisticsOfPartsAddUpToThoseOfTheWhole) {
  for (std::uint64_t key = 0; key < 60; ++key) {
    const Case c = make_case(key);
    const auto columns = c.logits.size(1), cut = columns / 2;
    if (cut == 0) continue;
    at::Tensor whole = start_statistics(c.logits.size(0), at::kCPU), parts = whole.clone();
    add_statistics(in_buffer(c.logits, at::kDouble), c.tile, whole, {});
    for (const auto& [first, count] : {std::pair{cut, columns - cut}, std::pair{std::int64_t{0}, cut}}) {
      PairTile tile = c.tile;
      tile.columns.first += first;
      for (at::Tensor* lines : {&tile.columns.live_n, &tile.columns.label_n})
        if (lines->defined()) *lines = lines->narrow(0, first, count);
      add_statistics(in_buffer(c.logits.narrow(1, first, count), at::kDouble), tile, parts, {});
    }
    for (std::int64_t i = 0; i < whole.size(1); ++i)
      expect_near(meaning(parts.select(1, i), c.tile), meaning(whole.select(1, i), c.tile), 1e-12,
                  "case " + std::to_string(key) + ", row " + std::to_string(i));
  }
}

double line_part(const Case& c, const at::Tensor& k_5, double s, Entry entry) {
  const auto at = [&](Coefficient which) { return k_5[which].item<double>(); };
  const double b = c.tile.beta;
  if (entry == Entry::kDead) return 0;
  if (c.tile.sigmoid)
    return entry == Entry::kPositive ? -at(kHard) * sigmoid(-s - c.tile.bias)
                                     : at(kHard) * sigmoid(s + c.tile.bias);
  if (entry == Entry::kPositive) return std::exp(s + at(kPositive)) - at(kTarget);
  const double base = b > 0 && c.tile.weight_gradient ? std::exp(b * s + at(kBase)) : 0;
  return std::exp((1 + b) * s + at(kHard)) - base - at(kUniform);
}

TEST(PairTile, GradientIsWhatTheContractSays) {
  for (std::uint64_t key = 0; key < 60; ++key)
    for (const auto type : {at::kDouble, at::kFloat}) {
      Case c = make_case(key);
      c.logits = c.logits.to(type).to(at::kDouble);
      RandomStream random(12, RandomPurpose::kTest, key);
      const auto coefficients = [&](std::int64_t n) {
        at::Tensor k = at::empty({kCoefficients, n}, at::kDouble);
        for (std::int64_t i = 0; i < k.numel(); ++i) k.data_ptr<double>()[i] = random.uniform(0.1, 1);
        if (!c.tile.sigmoid)  // exponents: the terms stay about one
          for (const auto which : {kHard, kBase, kPositive}) k[which] -= key % 2 == 0 ? 12 : 140;
        return k.to(type);
      };
      const at::Tensor rows = coefficients(c.logits.size(0)), columns = coefficients(c.logits.size(1));
      const at::Tensor exact_rows = rows.to(at::kDouble), exact_columns = columns.to(at::kDouble);
      at::Tensor got = in_buffer(c.logits, type), sums = at::zeros({2}, at::kDouble);
      tile_gradient(got, c.tile, rows, columns, sums);
      double with_s = 0, plain = 0, size = 1;
      const double tolerance = type == at::kDouble ? 1e-11 : 2e-4;
      for (std::int64_t i = 0; i < got.size(0); ++i)
        for (std::int64_t j = 0; j < got.size(1); ++j) {
          const double s = c.logits[i][j].item<double>();
          const Entry entry = entry_of(c, i, j);
          const double want = line_part(c, exact_rows.select(1, i), s, entry) +
                              line_part(c, exact_columns.select(1, j), s, entry);
          ASSERT_NEAR(got[i][j].item<double>(), want, tolerance * std::max(1.0, std::abs(want)))
              << "case " << key << ", entry " << i << ", " << j;
          with_s += want * s;
          plain += want;
          size += std::abs(want * s);
        }
      EXPECT_NEAR(sums[0].item<double>(), with_s, tolerance * size) << "case " << key;
      EXPECT_NEAR(sums[1].item<double>(), plain, tolerance * size) << "case " << key;
    }
}

}  // namespace
}  // namespace trireme::worker::kernels
