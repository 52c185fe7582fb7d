#include "worker/search/code_products.h"

#include <algorithm>
#include <cmath>

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

// The compiler makes vpdpbusd of the loop where the machine has it.
__attribute__((target_clones("arch=icelake-server", "arch=x86-64-v3", "default"), optimize("O3"))) void
code_products(const std::uint8_t* code, std::int64_t rows, std::int64_t width, const std::int8_t* query,
              std::int32_t sum, std::int32_t* out) {
  for (std::int64_t r = 0; r < rows; ++r, code += width) {
    std::int32_t product = 0;
    for (std::int64_t i = 0; i < width; ++i)
      product += static_cast<std::int32_t>(code[i]) * static_cast<std::int32_t>(query[i]);
    out[r] = product - 128 * sum;
  }
}

}  // namespace trireme::worker::search
