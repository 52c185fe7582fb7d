// Every function that is compiled per machine (target_clones) calls only what is inlined into it.
#pragma GCC diagnostic ignored "-Wpsabi"
#include "worker/kernels/row_products.h"

#include <algorithm>
#include <limits>

#include "worker/kernels/pair_tile/lanes.h"

#define TRIREME_PER_MACHINE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))

namespace trireme::worker::kernels {
namespace {

constexpr std::int64_t kWide = kLanes<float>;
// 24 sums are in registers in both tiles, beside what they read.
constexpr std::int64_t kTileRows = 4, kTileLines = 6;
constexpr std::int64_t kMixRows = 12, kMixVectors = 2;
constexpr std::int64_t kTokens = 96;  // of one pass: with their scores in the second-level cache

// sums[i] = sum of the lanes of x[i].
TRIREME_LANES_INLINE Floats lane_sums(const Floats* x) {
  Floats eight[8], four[4], two[2];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    eight[i] =
        __builtin_shufflevector(x[i], x[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
        __builtin_shufflevector(x[i], x[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    four[i] = __builtin_shufflevector(eight[i], eight[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24,
                                      25, 26, 27) +
              __builtin_shufflevector(eight[i], eight[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28,
                                      29, 30, 31);
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i)
    two[i] = __builtin_shufflevector(four[i], four[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13,
                                     28, 29) +
             __builtin_shufflevector(four[i], four[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15,
                                     30, 31);
  return __builtin_shufflevector(two[0], two[1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
         __builtin_shufflevector(two[0], two[1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
}

// sums[r * kTileLines + o] = x[r] · w[o]. `fetch`: the lines of the next tile come from memory meanwhile.
template <bool fetch>
TRIREME_LANES_INLINE void dot_tile(const float* const* x, const float* const* w, std::int64_t width,
                                   float* sums) {
  Floats sum[32] = {};
  for (std::int64_t k = 0; k < width; k += kWide) {
    Floats line[kTileLines];
#pragma GCC unroll 6
    for (int o = 0; o < kTileLines; ++o) {
      line[o] = load(w[o] + k);
      if constexpr (fetch) __builtin_prefetch(w[o] + k + kTileLines * width, 0, 2);
    }
#pragma GCC unroll 4
    for (int r = 0; r < kTileRows; ++r) {
      const Floats row = load(x[r] + k);
#pragma GCC unroll 6
      for (int o = 0; o < kTileLines; ++o) sum[r * kTileLines + o] += row * line[o];
    }
  }
  store(sums, lane_sums(sum));
  store(sums + kWide, lane_sums(sum + kWide));
}

// The tile at (row, line) of x [rows, width] and w [lines, width]: beyond the last one the last is taken
// again, so that every tile is a whole one.
TRIREME_LANES_INLINE void dot_tile_at(const float* x, std::int64_t row, std::int64_t rows, const float* w,
                                      std::int64_t line, std::int64_t lines, std::int64_t width,
                                      float* sums) {
  const float *x_of[kTileRows], *w_of[kTileLines];
  for (std::int64_t r = 0; r < kTileRows; ++r) x_of[r] = x + std::min(row + r, rows - 1) * width;
  for (std::int64_t o = 0; o < kTileLines; ++o) w_of[o] = w + std::min(line + o, lines - 1) * width;
  if (row == 0)
    dot_tile<true>(x_of, w_of, width, sums);
  else
    dot_tile<false>(x_of, w_of, width, sums);
}

TRIREME_LANES_INLINE void all_products(const RowProducts& p, std::int64_t first, std::int64_t last) {
  float sums[32];
  for (std::int64_t line = first; line < last; line += kTileLines)
    for (std::int64_t row = 0; row < p.rows; row += kTileRows) {
      dot_tile_at(p.x, row, p.rows, p.w, line, last, p.width, sums);
      const std::int64_t lines = std::min(kTileLines, last - line);
      for (std::int64_t r = 0; r < std::min(kTileRows, p.rows - row); ++r)
        for (std::int64_t o = 0; o < lines; ++o)
          p.y[(row + r) * p.outputs + line + o] =
              sums[r * kTileLines + o] + (p.bias == nullptr ? 0 : p.bias[line + o]);
    }
}

// mixed[r] += sum_s share[r, s] token[s] in `vectors` vectors of columns.
template <int vectors>
TRIREME_LANES_INLINE void mix_tile(const float* share_RS, std::int64_t tokens, const float* token_ST,
                                   float* mixed_RT, std::int64_t width) {
  Floats sum[kMixRows][vectors];
#pragma GCC unroll 12
  for (int r = 0; r < kMixRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[r][v] = load(mixed_RT + r * width + v * kWide);
  for (std::int64_t s = 0; s < tokens; ++s) {
    Floats part[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) part[v] = load(token_ST + s * width + v * kWide);
#pragma GCC unroll 12
    for (int r = 0; r < kMixRows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[r][v] += share_RS[r * kTokens + s] * part[v];
  }
#pragma GCC unroll 12
  for (int r = 0; r < kMixRows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) store(mixed_RT + r * width + v * kWide, sum[r][v]);
}

// Scores of one pass become shares relative to a running maximum; what came before is scaled to it.
TRIREME_LANES_INLINE void shares_of(float* scores, std::int64_t tokens, float* mixed, std::int64_t width,
                                    float& most, float& total) {
  Floats largest_of = Floats{} - std::numeric_limits<float>::infinity();
  for (std::int64_t s = tokens; s % kWide != 0; ++s) scores[s] = -std::numeric_limits<float>::infinity();
  for (std::int64_t s = 0; s < tokens; s += kWide) {
    const Floats score = load(scores + s);
    largest_of = score > largest_of ? score : largest_of;
  }
  const float now = std::max(most, largest<float>(largest_of));
  const float before = exp(Floats{} + (most - now))[0];
  Floats sums{};
  for (std::int64_t s = 0; s < tokens; s += kWide) {
    const Floats share = exp(load(scores + s) - now);
    store(scores + s, share);
    sums += share;
  }
  if (before != 1)
    for (std::int64_t t = 0; t < width; t += kWide) store(mixed + t, load(mixed + t) * before);
  total = total * before + sum<float>(sums);
  most = now;
}

// Room of one call: rows beyond the queries are computed and never read.
struct AttentionRoom {
  float *scores_QS, *mixed_QT, *most_Q, *total_Q;
  std::int64_t rows;
};

TRIREME_LANES_INLINE void attend_pass(const TokenAttention& a, const float* token_ST, std::int64_t tokens,
                                      const AttentionRoom& room) {
  float sums[32];
  for (std::int64_t s = 0; s < tokens; s += kTileLines)
    for (std::int64_t q = 0; q < a.queries; q += kTileRows) {
      dot_tile_at(a.query, q, a.queries, token_ST, s, tokens, a.width, sums);
      for (std::int64_t r = 0; r < kTileRows; ++r)
        for (std::int64_t o = 0; o < kTileLines; ++o)
          room.scores_QS[(q + r) * kTokens + s + o] = sums[r * kTileLines + o];
    }
  for (std::int64_t q = 0; q < a.queries; ++q)
    shares_of(room.scores_QS + q * kTokens, tokens, room.mixed_QT + q * a.width, a.width, room.most_Q[q],
              room.total_Q[q]);
  const std::int64_t pairs = a.width / (kMixVectors * kWide) * kMixVectors * kWide;
  for (std::int64_t t = 0; t < pairs; t += kMixVectors * kWide)
    for (std::int64_t q = 0; q < room.rows; q += kMixRows)
      mix_tile<kMixVectors>(room.scores_QS + q * kTokens, tokens, token_ST + t,
                            room.mixed_QT + q * a.width + t, a.width);
  if (pairs < a.width)
    for (std::int64_t q = 0; q < room.rows; q += kMixRows)
      mix_tile<1>(room.scores_QS + q * kTokens, tokens, token_ST + pairs, room.mixed_QT + q * a.width + pairs,
                  a.width);
}

TRIREME_LANES_INLINE void attend(const TokenAttention& a, const AttentionRoom& room) {
  for (std::int64_t s = 0; s < a.tokens; s += kTokens)
    attend_pass(a, a.token + s * a.width, std::min(kTokens, a.tokens - s), room);
  for (std::int64_t q = 0; q < a.queries; ++q)
    for (std::int64_t t = 0; t < a.width; t += kWide)
      store(a.mixed + q * a.width + t, load(room.mixed_QT + q * a.width + t) / room.total_Q[q]);
}

TRIREME_PER_MACHINE void products_here(const RowProducts& products, std::int64_t first, std::int64_t last) {
  all_products(products, first, last);
}

TRIREME_PER_MACHINE void attend_here(const TokenAttention& attention, const AttentionRoom& room) {
  attend(attention, room);
}

std::int64_t rows_of(std::int64_t queries) {
  return (queries + kMixRows - 1) / kMixRows * kMixRows;
}

}  // namespace

void row_products(const RowProducts& products, std::int64_t first_output, std::int64_t last_output) {
  products_here(products, first_output, last_output);
}

std::int64_t attention_room(std::int64_t queries, std::int64_t width) {
  return rows_of(queries) * (kTokens + width + 2);
}

void attend_tokens(const TokenAttention& attention, float* room) {
  const std::int64_t rows = rows_of(attention.queries);
  float* const scores = room;
  float* const mixed = scores + rows * kTokens;
  float* const most = mixed + rows * attention.width;
  std::fill(room, most, 0.0F);
  std::fill_n(most, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(most + rows, rows, 0.0F);
  attend_here(attention, {scores, mixed, most, most + rows, rows});
}

}  // namespace trireme::worker::kernels
