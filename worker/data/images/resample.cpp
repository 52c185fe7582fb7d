#include "worker/data/images/resample.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

namespace trireme::worker::data {
namespace {

constexpr std::int64_t kTapsAtOnce = 4;
constexpr std::int64_t kReadPastBytes = 16;  // the fast loops read so far beyond a row's end

constexpr int kPillowPrecision = 22;

bool is_linear(Filter filter) {
  return filter == Filter::kBilinear || filter == Filter::kPillowBilinear;
}
bool is_pillow(Filter filter) {
  return filter == Filter::kPillowBicubic || filter == Filter::kPillowBilinear;
}

double weight_at(Filter filter, double x) {
  x = std::abs(x);
  if (is_linear(filter)) return x < 1 ? 1 - x : 0;
  constexpr double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

// Which inputs make output i, and how much of each: weight[i * taps + j] of input first[i] + j, j < count[i],
// zeros after. Pillow's weights are longer than a word: `weight` times kLowUnit, and `low` beside it.
struct Weights {
  int precision = 0;
  std::int64_t taps = 0;
  std::vector<std::int64_t> first, count;
  std::vector<std::int16_t> weight, low;
};
constexpr int kLowBits = 8, kLowUnit = 1 << kLowBits;

Weights weights_of(std::int64_t in, std::int64_t out, Filter filter) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double support = (is_linear(filter) ? 1.0 : 2.0) * std::max(1.0, scale);
  const double inverse = scale >= 1 ? 1 / scale : 1;
  const std::int64_t most = static_cast<std::int64_t>(std::ceil(support)) * 2 + 1;
  Weights made;
  made.taps = (most + kTapsAtOnce - 1) / kTapsAtOnce * kTapsAtOnce;
  std::vector<double> exact(static_cast<std::size_t>(out * made.taps));
  double greatest = 0;
  for (std::int64_t i = 0; i < out; ++i) {
    const double centre = scale * (static_cast<double>(i) + 0.5);
    const auto first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - support + 0.5), 0);
    const auto end = std::min<std::int64_t>(static_cast<std::int64_t>(centre + support + 0.5), in);
    const std::int64_t count = std::clamp<std::int64_t>(end - first, 0, most);
    double* row = &exact[static_cast<std::size_t>(i * made.taps)];
    double sum = 0;
    for (std::int64_t j = 0; j < count; ++j)
      sum += row[j] = weight_at(filter, (static_cast<double>(j + first) - centre + 0.5) * inverse);
    for (std::int64_t j = 0; j < count && sum != 0; ++j) greatest = std::max(greatest, row[j] /= sum);
    made.first.push_back(first);
    made.count.push_back(count);
  }
  const bool pillow = is_pillow(filter);
  if (pillow) made.precision = kPillowPrecision;
  while (made.precision < 22 && 0.5 + greatest * (1 << (made.precision + 1)) < 1 << 15) ++made.precision;
  made.weight.resize(exact.size());
  if (pillow) made.low.resize(exact.size());
  const double unit = 1 << made.precision;
  for (std::size_t k = 0; k < exact.size(); ++k) {
    const auto whole = static_cast<std::int32_t>(exact[k] * unit + (exact[k] < 0 ? -0.5 : 0.5));
    made.weight[k] = static_cast<std::int16_t>(pillow ? whole >> kLowBits : whole);
    if (pillow) made.low[k] = static_cast<std::int16_t>(whole & (kLowUnit - 1));
  }
  return made;
}

std::int32_t weight_of(const Weights& weights, std::size_t k) {
  return weights.low.empty() ? weights.weight[k] : weights.weight[k] * kLowUnit + weights.low[k];
}

std::uint8_t byte_of(std::int32_t sum, int precision) {
  return static_cast<std::uint8_t>(std::clamp(sum >> precision, 0, 255));
}

// ---- rows: `in` and `out` are one row

void row_plain(const std::uint8_t* in, std::uint8_t* out, const Weights& weights) {
  for (std::size_t x = 0; x < weights.first.size(); ++x) {
    const std::uint8_t* pixel = in + 3 * weights.first[x];
    std::int32_t sum[3];
    std::fill(sum, sum + 3, 1 << (weights.precision - 1));
    for (std::int64_t j = 0; j < weights.count[x]; ++j, pixel += 3) {
      const std::int32_t w =
          weight_of(weights, x * static_cast<std::size_t>(weights.taps) + static_cast<std::size_t>(j));
      for (int c = 0; c < 3; ++c) sum[c] += w * pixel[c];
    }
    for (int c = 0; c < 3; ++c) out[3 * x + static_cast<std::size_t>(c)] = byte_of(sum[c], weights.precision);
  }
}

// Two rows' 16 bytes, one in each half.
__attribute__((target("avx2"), always_inline)) inline __m256i load_rows(const std::uint8_t* a,
                                                                        const std::uint8_t* b) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a))),
                                 _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)), 1);
}

__attribute__((target("avx2"), always_inline)) inline __m256i pair_of(const std::int16_t* weight) {
  std::int32_t pair;
  std::memcpy(&pair, weight, sizeof pair);
  return _mm256_set1_epi32(pair);
}

// Four rows of `in_bytes` and `out_bytes` each. A pixel is stored with a byte of the next one, which follows.
template <bool kLow>
__attribute__((target("avx2"))) void four_rows_avx2(const std::uint8_t* in, std::int64_t in_bytes,
                                                    std::uint8_t* out, std::int64_t out_bytes,
                                                    const Weights& weights) {
  // Of pixels 0 … 3 in 12 bytes: both of a pair, channel by channel, as words.
  const __m256i first_pair = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                              0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
  const __m256i second_pair = _mm256_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,  //
                                               6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
  const __m128i shift = _mm_cvtsi32_si128(weights.precision);
  const __m256i half = _mm256_set1_epi32(1 << (weights.precision - 1));
  const std::int16_t *w = weights.weight.data(), *low = weights.low.data();
  const std::size_t outputs = weights.first.size();
  for (std::size_t x = 0; x < outputs; ++x, w += weights.taps) {
    const std::uint8_t* a = in + 3 * weights.first[x];
    const std::uint8_t* b = a + 2 * in_bytes;
    const std::int64_t count = weights.count[x];
    __m256i sum_a = kLow ? _mm256_setzero_si256() : half, sum_b = sum_a, low_a = half, low_b = half;
    const auto add = [&](__m256i rows_a, __m256i rows_b, std::int64_t j)
        __attribute__((target("avx2"), always_inline)) {
      const __m256i pair = pair_of(w + j);
      sum_a = _mm256_add_epi32(sum_a, _mm256_madd_epi16(rows_a, pair));
      sum_b = _mm256_add_epi32(sum_b, _mm256_madd_epi16(rows_b, pair));
      if constexpr (kLow) {
        const __m256i rest = pair_of(low + j);
        low_a = _mm256_add_epi32(low_a, _mm256_madd_epi16(rows_a, rest));
        low_b = _mm256_add_epi32(low_b, _mm256_madd_epi16(rows_b, rest));
      }
    };
    for (std::int64_t j = 0; j < count; j += 4, a += 12, b += 12) {
      const __m256i rows_a = load_rows(a, a + in_bytes), rows_b = load_rows(b, b + in_bytes);
      add(_mm256_shuffle_epi8(rows_a, first_pair), _mm256_shuffle_epi8(rows_b, first_pair), j);
      if (j + 2 < count)
        add(_mm256_shuffle_epi8(rows_a, second_pair), _mm256_shuffle_epi8(rows_b, second_pair), j + 2);
    }
    if constexpr (kLow) {
      sum_a = _mm256_add_epi32(_mm256_slli_epi32(sum_a, kLowBits), low_a);
      sum_b = _mm256_add_epi32(_mm256_slli_epi32(sum_b, kLowBits), low_b);
      low += weights.taps;
    }
    const __m256i words = _mm256_packs_epi32(_mm256_sra_epi32(sum_a, shift), _mm256_sra_epi32(sum_b, shift));
    const __m256i bytes = _mm256_packus_epi16(words, words);
    const auto even = static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm256_castsi256_si128(bytes)));
    const auto odd = static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm256_extracti128_si256(bytes, 1)));
    const std::uint32_t pixels[4] = {static_cast<std::uint32_t>(even), static_cast<std::uint32_t>(odd),
                                     static_cast<std::uint32_t>(even >> 32),
                                     static_cast<std::uint32_t>(odd >> 32)};
    std::uint8_t* pixel = out + 3 * static_cast<std::int64_t>(x);
    if (x + 1 < outputs) {
      for (int row = 0; row < 4; ++row) std::memcpy(pixel + row * out_bytes, &pixels[row], 4);
    } else {
      for (int row = 0; row < 4; ++row) std::memcpy(pixel + row * out_bytes, &pixels[row], 3);
    }
  }
}

// ---- columns: one output row from `count` input rows of `bytes` bytes

void column_plain(const std::uint8_t* in, std::int64_t bytes, std::int64_t from, const Weights& weights,
                  std::size_t y, std::uint8_t* out) {
  const std::size_t first = y * static_cast<std::size_t>(weights.taps);
  for (std::int64_t x = from; x < bytes; ++x) {
    std::int32_t sum = 1 << (weights.precision - 1);
    for (std::int64_t j = 0; j < weights.count[y]; ++j)
      sum += weight_of(weights, first + static_cast<std::size_t>(j)) * in[j * bytes + x];
    out[x] = byte_of(sum, weights.precision);
  }
}

// Bytes up to the last whole 32; returns how many. Rows j and j + 1 meet in one multiply-add.
template <bool kLow>
__attribute__((target("avx2"))) std::int64_t column_avx2(const std::uint8_t* in, std::int64_t bytes,
                                                         const Weights& weights, std::size_t y,
                                                         std::uint8_t* out) {
  const std::size_t first = y * static_cast<std::size_t>(weights.taps);
  const std::int16_t *w = weights.weight.data() + first, *low_w = weights.low.data() + (kLow ? first : 0);
  const std::int64_t count = weights.count[y];
  const __m128i shift = _mm_cvtsi32_si128(weights.precision);
  const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(1 << (weights.precision - 1));
  std::int64_t x = 0;
  for (; x + 32 <= bytes; x += 32) {
    __m256i sum[4], rest[4];
    for (int i = 0; i < 4; ++i) sum[i] = kLow ? zero : half, rest[i] = half;
    for (std::int64_t j = 0; j < count; j += 2) {
      const std::uint8_t* row = in + j * bytes + x;
      const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row));
      const __m256i b =
          j + 1 < count ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + bytes)) : zero;
      const __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
      const __m256i pairs[4] = {_mm256_unpacklo_epi8(low, zero), _mm256_unpackhi_epi8(low, zero),
                                _mm256_unpacklo_epi8(high, zero), _mm256_unpackhi_epi8(high, zero)};
      const __m256i weight = pair_of(w + j);
      for (int i = 0; i < 4; ++i) sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(pairs[i], weight));
      if constexpr (kLow) {
        const __m256i less = pair_of(low_w + j);
        for (int i = 0; i < 4; ++i) rest[i] = _mm256_add_epi32(rest[i], _mm256_madd_epi16(pairs[i], less));
      }
    }
    for (int i = 0; i < 4; ++i) {
      if constexpr (kLow) sum[i] = _mm256_add_epi32(_mm256_slli_epi32(sum[i], kLowBits), rest[i]);
      sum[i] = _mm256_sra_epi32(sum[i], shift);
    }
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(out + x),
        _mm256_packus_epi16(_mm256_packs_epi32(sum[0], sum[1]), _mm256_packs_epi32(sum[2], sum[3])));
  }
  return x;
}

void resample_rows(const std::uint8_t* rgb, std::int64_t width, std::int64_t rows, std::uint8_t* out,
                   const Weights& weights, bool fast) {
  const std::int64_t in_bytes = width * 3, out_bytes = static_cast<std::int64_t>(weights.first.size()) * 3;
  std::int64_t y = 0;
  // The rows after which the picture goes on for long enough.
  const std::int64_t safe = rows - (kReadPastBytes + in_bytes - 1) / in_bytes;
  const auto four_rows = weights.low.empty() ? four_rows_avx2<false> : four_rows_avx2<true>;
  for (; fast && y + 4 <= safe; y += 4)
    four_rows(rgb + y * in_bytes, in_bytes, out + y * out_bytes, out_bytes, weights);
  for (; y < rows; ++y) row_plain(rgb + y * in_bytes, out + y * out_bytes, weights);
}

void resample_columns(const std::uint8_t* rgb, std::int64_t width, std::uint8_t* out, const Weights& weights,
                      bool fast) {
  const std::int64_t bytes = width * 3;
  const auto column = weights.low.empty() ? column_avx2<false> : column_avx2<true>;
  for (std::size_t y = 0; y < weights.first.size(); ++y) {
    const std::uint8_t* in = rgb + weights.first[y] * bytes;
    std::uint8_t* row = out + static_cast<std::int64_t>(y) * bytes;
    const std::int64_t done = fast ? column(in, bytes, weights, y, row) : 0;
    column_plain(in, bytes, done, weights, y, row);
  }
}

// Pillow 13 takes the columns first where they lose more than twice as many pixels as the rows: pictures more
// than twice as high as wide. (Before, it never did.)
bool columns_first(std::int64_t width, std::int64_t height, std::int64_t out_width, std::int64_t out_height,
                   Filter filter) {
  return is_pillow(filter) && out_height < height && height - out_height > 2 * (width - out_width);
}

}  // namespace

void resample(const std::uint8_t* rgb, std::int64_t width, std::int64_t height, std::uint8_t* out,
              std::int64_t out_width, std::int64_t out_height, Filter filter) {
  static const bool fast = __builtin_cpu_supports("avx2");
  const bool rows = width != out_width, columns = height != out_height;
  if (!rows && !columns) {
    std::copy_n(rgb, width * height * 3, out);
    return;
  }
  const bool late = rows && columns && columns_first(width, height, out_width, out_height, filter);
  std::unique_ptr<std::uint8_t[]> between;
  if (rows && columns)
    between.reset(
        new std::uint8_t[static_cast<std::size_t>(3 * (late ? width * out_height : out_width * height))]);
  if (late) resample_columns(rgb, width, between.get(), weights_of(height, out_height, filter), fast);
  if (rows)
    resample_rows(late ? between.get() : rgb, width, late ? out_height : height,
                  !columns || late ? out : between.get(), weights_of(width, out_width, filter), fast);
  if (columns && !late)
    resample_columns(rows ? between.get() : rgb, out_width, out, weights_of(height, out_height, filter),
                     fast);
}

}  // namespace trireme::worker::data
