// Rows of 8-bit numbers: a quarter of float32 to read, and products by the machine's 8-bit instructions. What
// is read of every row lies in blocks of 16 rows, four numbers of each after the other, so that a product of
// 16 rows needs no sum across a register; what is read of a few rows lies row by row. Widths of blocks are
// multiples of 4.
#pragma once

#include <cstdint>

namespace trireme::worker::search {

inline constexpr std::int64_t kBlockRows = 16;

// Where number `i` of row `row` lies in blocks.
constexpr std::int64_t code_place(std::int64_t row, std::int64_t i, std::int64_t width) {
  return row / kBlockRows * kBlockRows * width + i / 4 * 4 * kBlockRows + row % kBlockRows * 4 + i % 4;
}

// code[i] = round(row[i] / scale) + 128, in [1, 255], with scale = max |row| / 127; returns the scale, 0 for
// a row of zeros.
float encode_row(const float* row, std::int64_t width, std::uint8_t* code);

// The same of a query, signed, without the 128.
float encode_query(const float* query, std::int64_t width, std::int8_t* code);

struct QueryCode {
  const std::int8_t* number;  // as many as the rows'
  std::int32_t sum = 0;       // of them
  float scale = 0;
};

// score[r] = query.scale scale[r] sum_i (number i of row r - 128) query[i], of the first `rows` rows of the
// blocks; `score` has room for whole blocks.
void block_scores(const std::uint8_t* code, std::int64_t rows, std::int64_t width, const QueryCode& query,
                  const float* scale, float* score);

// sum_i (code[i] - 128) query[i] of one row whose numbers lie one after another.
std::int32_t row_product(const std::uint8_t* code, std::int64_t width, const QueryCode& query);

}  // namespace trireme::worker::search
