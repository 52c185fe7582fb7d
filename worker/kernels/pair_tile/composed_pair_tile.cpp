#include "worker/kernels/pair_tile/composed_pair_tile.h"

#include <ATen/ATen.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace trireme::worker::kernels {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();
constexpr double kLinearFrom = 40;  // beyond, softplus(x) is x to the last bit of float64

// What takes part as `lines` see it, the lines across being `others`: bool [lines, others].
struct Parts {
  at::Tensor positive, negative;
};

at::Tensor places(const TileLines& lines, std::int64_t count, const at::Device& device) {
  return at::arange(lines.first, lines.first + count, at::TensorOptions(at::kInt).device(device));
}

// The bits of an unsigned 32-bit number in a signed one, which ATen has everywhere; products wrap.
std::int64_t as_signed(std::uint32_t bits) {
  return static_cast<std::int32_t>(bits);
}
at::Tensor shifted(const at::Tensor& x, int bits) {
  return at::bitwise_right_shift(x, bits).bitwise_and_(as_signed(0xFFFFFFFFU >> bits));
}

// negative_mix() of negative_choice.h for every (line, place).
at::Tensor ranks(const at::Tensor& places_1m, const at::Tensor& low_n1, const at::Tensor& high_n1) {
  at::Tensor x = at::bitwise_xor(places_1m, low_n1).mul_(as_signed(0x9E3779B1U));
  x.bitwise_xor_(shifted(x, 16));
  x.bitwise_xor_(high_n1).mul_(as_signed(0x85EBCA6BU));
  x.bitwise_xor_(shifted(x, 13));
  x.mul_(as_signed(0xC2B2AE35U));
  return x.bitwise_xor_(shifted(x, 16));
}

// The low and the high word of int64 numbers, as int32.
at::Tensor low_word(const at::Tensor& numbers) {
  const at::Tensor low = numbers.bitwise_and(std::int64_t{0xFFFFFFFF});
  return at::where(low.gt(0x7FFFFFFF), low - (std::int64_t{1} << 32), low).to(at::kInt);
}
at::Tensor high_word(const at::Tensor& numbers) {
  return low_word(at::bitwise_right_shift(numbers, 32));
}

// NegativeLimit::keeps(): unsigned numbers are compared with their first bit flipped.
at::Tensor kept(const at::Tensor& choice_n3, const at::Tensor& places_m) {
  const auto part = [&](std::int64_t which) { return choice_n3.select(1, which).unsqueeze(1); };
  const auto flipped = [](at::Tensor words) { return words.bitwise_xor_(as_signed(0x80000000U)); };
  const at::Tensor places_1m = places_m.unsqueeze(0);
  const at::Tensor its_rank = flipped(ranks(places_1m, low_word(part(0)), high_word(part(0))));
  const at::Tensor limit = flipped(low_word(part(1)));
  const at::Tensor last = part(2);  // -1: none
  at::Tensor result = its_rank.eq(limit).logical_and_(places_1m.le(last));
  return result.logical_or_(its_rank.lt(limit)).logical_and_(last.ge(0));
}

Parts parts_of(const TileLines& lines, const TileLines& others, std::int64_t n, std::int64_t m,
               const at::Device& device) {
  const at::Tensor places_m = places(others, m, device);
  Parts parts;
  parts.positive = lines.label_n.defined() ? lines.label_n.unsqueeze(1).eq(others.label_n.unsqueeze(0))
                                           : places(lines, n, device).unsqueeze(1).eq(places_m.unsqueeze(0));
  parts.negative = parts.positive.logical_not();
  if (lines.choice_n3.defined()) parts.negative.logical_and_(kept(lines.choice_n3, places_m));
  const auto without_dead = [&](const at::Tensor& live) {
    parts.positive.logical_and_(live);
    parts.negative.logical_and_(live);
  };
  if (lines.live_n.defined()) without_dead(lines.live_n.ne(0).unsqueeze(1));
  if (others.live_n.defined()) without_dead(others.live_n.ne(0).unsqueeze(0));
  return parts;
}

at::Tensor soft_plus(const at::Tensor& x) {
  return at::softplus(x, 1, kLinearFrom);
}

at::Tensor sum_of(const at::Tensor& mask_NM, const at::Tensor& values_NM) {
  return at::where(mask_NM, values_NM, 0).sum(1, false, at::kDouble);
}

at::Tensor zero_if_none(const at::Tensor& maximum) {
  return maximum.masked_fill(maximum.eq(kNone), 0);
}

// Sums of e^{power s} relative to a running maximum of s, for each of the given powers.
struct RunningSum {
  at::Tensor values_N;
  double power;
};
void add_exponentials(const at::Tensor& mask_NM, const at::Tensor& s_NM, const at::Tensor& maximum_N,
                      const std::vector<RunningSum>& sums) {
  const at::Tensor masked = at::where(mask_NM, s_NM, kNone);
  const at::Tensor most = masked.amax(1);
  const at::Tensor relative = masked - zero_if_none(most).unsqueeze(1);
  const at::Tensor now = at::maximum(maximum_N, most.to(at::kDouble)), shift = zero_if_none(now);
  for (const auto& [values_N, power] : sums) {
    const at::Tensor of_tile = at::exp(relative * power).sum(1, false, at::kDouble);
    const at::Tensor rescaled = (power * (zero_if_none(most).to(at::kDouble) - shift)).exp();
    at::Tensor(values_N)
        .mul_((power * (maximum_N - shift)).exp())
        .add_(at::where(of_tile.eq(0), of_tile, of_tile * rescaled));
  }
  at::Tensor(maximum_N).copy_(now);
}

void add_lines(const at::Tensor& s_NM, const PairTile& tile, const Parts& parts,
               const at::Tensor& statistics_7N) {
  const auto running = [&](Statistic which) { return statistics_7N.select(0, which); };
  if (tile.sigmoid) {
    running(kNegativeLinear).add_(sum_of(parts.negative, soft_plus(s_NM + tile.bias)));
    running(kPositiveLinear).add_(sum_of(parts.positive, soft_plus(-s_NM - tile.bias)));
    return;
  }
  std::vector<RunningSum> sums{{running(kNegativeHard), 1 + tile.beta}};
  if (tile.beta > 0) sums.push_back({running(kNegativeBase), tile.beta});
  add_exponentials(parts.negative, s_NM, running(kNegativeMax), sums);
  if (tile.linear) running(kNegativeLinear).add_(sum_of(parts.negative, s_NM));
  add_exponentials(parts.positive, s_NM, running(kPositiveMax), {{running(kPositiveSum), 1}});
  running(kPositiveLinear).add_(sum_of(parts.positive, s_NM));
}

// The lines' part of dL/ds.
at::Tensor part_of_lines(const at::Tensor& s_NM, const PairTile& tile, const Parts& parts,
                         const at::Tensor& coefficients_5N) {
  const auto of = [&](Coefficient which) { return coefficients_5N.select(0, which).unsqueeze(1); };
  at::Tensor negative, positive;
  if (tile.sigmoid) {
    negative = of(kHard) * at::sigmoid(s_NM + tile.bias);
    positive = -of(kHard) * at::sigmoid(-s_NM - tile.bias);
  } else {
    negative = at::exp(s_NM * (1 + tile.beta) + of(kHard)) - of(kUniform);
    if (tile.beta > 0 && tile.weight_gradient) negative -= at::exp(s_NM * tile.beta + of(kBase));
    positive = at::exp(s_NM + of(kPositive)) - of(kTarget);
  }
  return at::where(parts.negative, negative, 0).add_(at::where(parts.positive, positive, 0));
}

struct BothParts {
  Parts by_rows, by_columns;  // by_columns: [columns, rows]
};
BothParts both(const at::Tensor& logits_RC, const PairTile& tile) {
  const auto rows = logits_RC.size(0), columns = logits_RC.size(1);
  return {parts_of(tile.rows, tile.columns, rows, columns, logits_RC.device()),
          parts_of(tile.columns, tile.rows, columns, rows, logits_RC.device())};
}

}  // namespace

void composed_add_statistics(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_7R,
                             const at::Tensor& columns_7C) {
  const auto parts = both(logits_RC, tile);
  if (rows_7R.defined()) add_lines(logits_RC, tile, parts.by_rows, rows_7R);
  if (columns_7C.defined()) add_lines(logits_RC.t(), tile, parts.by_columns, columns_7C);
}

void composed_tile_gradient(const at::Tensor& logits_RC, const PairTile& tile, const at::Tensor& rows_5R,
                            const at::Tensor& columns_5C, const at::Tensor& sums_2) {
  const auto parts = both(logits_RC, tile);
  at::Tensor gradient = part_of_lines(logits_RC, tile, parts.by_rows, rows_5R);
  gradient.add_(part_of_lines(logits_RC.t(), tile, parts.by_columns, columns_5C).t());
  const at::Tensor with_s = at::where(gradient.eq(0), gradient, gradient * logits_RC);
  at::Tensor(sums_2).add_(at::stack({with_s.sum(at::kDouble), gradient.sum(at::kDouble)}));
  at::Tensor(logits_RC).copy_(gradient);
}

}  // namespace trireme::worker::kernels
