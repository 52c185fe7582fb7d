#include "worker/search/code_products.h"

#include <algorithm>
#include <cmath>
#include <cstring>

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

void plain_products(const std::uint8_t* code, std::int64_t blocks, std::int64_t width,
                    const std::int8_t* query, std::int32_t sum, std::int32_t* out) {
  for (std::int64_t b = 0; b < blocks; ++b, out += kBlockRows) {
    std::fill_n(out, kBlockRows, -128 * sum);
    for (std::int64_t i = 0; i < width; i += 4, code += 4 * kBlockRows)
      for (std::int64_t r = 0; r < kBlockRows; ++r)
        for (std::int64_t j = 0; j < 4; ++j)
          out[r] += static_cast<std::int32_t>(code[4 * r + j]) * static_cast<std::int32_t>(query[i + j]);
  }
}

constexpr std::int64_t kAtOnce = 4;  // blocks, so that one sum does not wait for the last

template <std::int64_t blocks>
__attribute__((target("avx512f,avx512vnni"), always_inline)) inline void vnni_blocks(const std::uint8_t* code,
                                                                                     std::int64_t width,
                                                                                     const std::int8_t* query,
                                                                                     __m512i start,
                                                                                     std::int32_t* out) {
  __m512i sums[blocks];
  for (std::int64_t b = 0; b < blocks; ++b) sums[b] = start;
  for (std::int64_t i = 0; i < width; i += 4) {
    std::int32_t four = 0;
    std::memcpy(&four, query + i, 4);
    const __m512i asked = _mm512_set1_epi32(four);
    for (std::int64_t b = 0; b < blocks; ++b)
      sums[b] = _mm512_dpbusd_epi32(sums[b], _mm512_loadu_si512(code + (b * width + i) * kBlockRows), asked);
  }
  for (std::int64_t b = 0; b < blocks; ++b) _mm512_storeu_si512(out + b * kBlockRows, sums[b]);
}

__attribute__((target("avx512f,avx512vnni"))) void vnni_products(const std::uint8_t* code,
                                                                 std::int64_t blocks, std::int64_t width,
                                                                 const std::int8_t* query, std::int32_t sum,
                                                                 std::int32_t* out) {
  const __m512i start = _mm512_set1_epi32(-128 * sum);
  std::int64_t b = 0;
  for (; b + kAtOnce <= blocks; b += kAtOnce)
    vnni_blocks<kAtOnce>(code + b * kBlockRows * width, width, query, start, out + b * kBlockRows);
  for (; b < blocks; ++b)
    vnni_blocks<1>(code + b * kBlockRows * width, width, query, start, out + b * kBlockRows);
}

}  // namespace

float encode_row(const float* row, std::int64_t given, std::int64_t width, std::uint8_t* code,
                 std::int64_t place) {
  const float scale = scale_of(row, given);
  for (std::int64_t i = 0; i < width; ++i)
    code[code_place(place, i, width)] =
        static_cast<std::uint8_t>((i < given ? rounded(row[i], scale) : 0) + 128);
  return scale;
}

float encode_query(const float* query, std::int64_t given, std::int64_t width, std::int8_t* code) {
  const float scale = scale_of(query, given);
  for (std::int64_t i = 0; i < width; ++i)
    code[i] = static_cast<std::int8_t>(i < given ? rounded(query[i], scale) : 0);
  return scale;
}

void code_products(const std::uint8_t* code, std::int64_t blocks, std::int64_t width,
                   const std::int8_t* query, std::int32_t sum, std::int32_t* out) {
  static const bool fast = __builtin_cpu_supports("avx512vnni") > 0;
  (fast ? vnni_products : plain_products)(code, blocks, width, query, sum, out);
}

}  // namespace trireme::worker::search
