#include "worker/search/code_products.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include <immintrin.h>

namespace trireme::worker::search {
namespace {

float scale_of(const float* row, std::int64_t width) {
  float largest = 0;
  for (std::int64_t i = 0; i < width; ++i) largest = std::max(largest, std::abs(row[i]));
  return largest / 127;
}

int rounded(float value, float scale) {
  return scale > 0 ? static_cast<int>(std::clamp(std::nearbyint(value / scale), -127.0F, 127.0F)) : 0;
}

void plain_scores(const std::uint8_t* code, std::int64_t rows, std::int64_t width, const QueryCode& query,
                  const float* scale, float* score) {
  for (std::int64_t first = 0; first < rows; first += kBlockRows, code += kBlockRows * width)
    for (std::int64_t r = 0; r < std::min(kBlockRows, rows - first); ++r) {
      std::int32_t sum = -128 * query.sum;
      for (std::int64_t i = 0; i < width; ++i)
        sum += static_cast<std::int32_t>(code[code_place(r, i, width)]) *
               static_cast<std::int32_t>(query.number[i]);
      score[first + r] = static_cast<float>(sum) * query.scale * scale[first + r];
    }
}

std::int32_t plain_product(const std::uint8_t* code, std::int64_t width, const QueryCode& query) {
  std::int32_t sum = -128 * query.sum;
  for (std::int64_t i = 0; i < width; ++i)
    sum += static_cast<std::int32_t>(code[i]) * static_cast<std::int32_t>(query.number[i]);
  return sum;
}

#define TRIREME_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

constexpr std::int64_t kAtOnce = 4;  // blocks, so that one sum does not wait for the last

// `rows`: of the last block, the others are whole.
template <std::int64_t blocks>
TRIREME_VNNI inline void vnni_blocks(const std::uint8_t* code, std::int64_t rows, std::int64_t width,
                                     const QueryCode& query, const float* scale, float* score) {
  __m512i sums[blocks];
  for (std::int64_t b = 0; b < blocks; ++b) sums[b] = _mm512_set1_epi32(-128 * query.sum);
  for (std::int64_t i = 0; i < width; i += 4) {
    std::int32_t four = 0;
    std::memcpy(&four, query.number + i, 4);
    const __m512i asked = _mm512_set1_epi32(four);
    for (std::int64_t b = 0; b < blocks; ++b)
      sums[b] = _mm512_dpbusd_epi32(sums[b], _mm512_loadu_si512(code + (b * width + i) * kBlockRows), asked);
  }
  const __m512 factor = _mm512_set1_ps(query.scale);
  for (std::int64_t b = 0; b < blocks; ++b) {
    const auto there = static_cast<__mmask16>(b + 1 < blocks ? 0xffff : (1U << rows) - 1);
    const __m512 of_rows = _mm512_maskz_loadu_ps(there, scale + b * kBlockRows);
    _mm512_storeu_ps(
        score + b * kBlockRows,
        _mm512_mul_ps(_mm512_mul_ps(_mm512_maskz_cvtepi32_ps(0xffff, sums[b]), factor), of_rows));
  }
}

TRIREME_VNNI void vnni_scores(const std::uint8_t* code, std::int64_t rows, std::int64_t width,
                              const QueryCode& query, const float* scale, float* score) {
  for (std::int64_t r = 0; r < rows;) {
    const bool many = rows - r >= kAtOnce * kBlockRows;
    const std::int64_t some = std::min(rows - r, kBlockRows);
    if (many)
      vnni_blocks<kAtOnce>(code + r * width, kBlockRows, width, query, scale + r, score + r);
    else
      vnni_blocks<1>(code + r * width, some, width, query, scale + r, score + r);
    r += many ? kAtOnce * kBlockRows : some;
  }
}

TRIREME_VNNI std::int32_t vnni_product(const std::uint8_t* code, std::int64_t width, const QueryCode& query) {
  __m512i sums = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < width; i += 64) {
    const __mmask64 there = width - i >= 64 ? ~__mmask64{0} : (__mmask64{1} << (width - i)) - 1;
    sums = _mm512_dpbusd_epi32(sums, _mm512_maskz_loadu_epi8(there, code + i),
                               _mm512_maskz_loadu_epi8(there, query.number + i));
  }
  std::int32_t sum[16];
  _mm512_storeu_si512(sum, sums);
  return std::accumulate(sum, sum + 16, -128 * query.sum);
}

bool has_vnni() {
  static const bool has = __builtin_cpu_supports("avx512vnni") > 0 && __builtin_cpu_supports("avx512bw") > 0;
  return has;
}

}  // namespace

float encode_row(const float* row, std::int64_t width, std::uint8_t* code) {
  const float scale = scale_of(row, width);
  for (std::int64_t i = 0; i < width; ++i) code[i] = static_cast<std::uint8_t>(rounded(row[i], scale) + 128);
  return scale;
}

float encode_query(const float* query, std::int64_t width, std::int8_t* code) {
  const float scale = scale_of(query, width);
  for (std::int64_t i = 0; i < width; ++i) code[i] = static_cast<std::int8_t>(rounded(query[i], scale));
  return scale;
}

void block_scores(const std::uint8_t* code, std::int64_t rows, std::int64_t width, const QueryCode& query,
                  const float* scale, float* score) {
  (has_vnni() ? vnni_scores : plain_scores)(code, rows, width, query, scale, score);
}

std::int32_t row_product(const std::uint8_t* code, std::int64_t width, const QueryCode& query) {
  return (has_vnni() ? vnni_product : plain_product)(code, width, query);
}

}  // namespace trireme::worker::search
