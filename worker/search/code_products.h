// Rows of 8-bit numbers: a quarter of float32 to read, and products by the machine's 8-bit instructions. Rows
// lie in blocks of 16, four numbers of each after the other, so that a product of 16 rows needs no sum across
// a register. Widths are multiples of 4.
#pragma once

#include <cstdint>

namespace trireme::worker::search {

inline constexpr std::int64_t kBlockRows = 16;

// Where number `i` of row `row` lies.
constexpr std::int64_t code_place(std::int64_t row, std::int64_t i, std::int64_t width) {
  return row / kBlockRows * kBlockRows * width + i / 4 * 4 * kBlockRows + row % kBlockRows * 4 + i % 4;
}

// number i = round(row[i] / scale) + 128, in [1, 255], at code + code_place(place, i, width), with scale =
// max |row| / 127; returns the scale, 0 for a row of zeros. What `row` lacks of the width is 0.
float encode_row(const float* row, std::int64_t given, std::int64_t width, std::uint8_t* code,
                 std::int64_t place);

// The same of a query, signed, without the 128, its numbers one after another.
float encode_query(const float* query, std::int64_t given, std::int64_t width, std::int8_t* code);

// out[r] = sum_i (number i of row r - 128) query[i], of all rows of the blocks. `sum`: sum_i query[i].
void code_products(const std::uint8_t* code, std::int64_t blocks, std::int64_t width,
                   const std::int8_t* query, std::int32_t sum, std::int32_t* out);

}  // namespace trireme::worker::search
