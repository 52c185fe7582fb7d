// Rows of 8-bit numbers: a quarter of float32 to read, and products by the machine's 8-bit instructions.
#pragma once

#include <cstdint>

namespace trireme::worker::search {

// code[i] = round(row[i] / scale) + 128, in [1, 255], with scale = max |row| / 127; returns the scale, 0 for
// a row of zeros.
float encode_row(const float* row, std::int64_t width, std::uint8_t* code);

// The same of a query, signed and without the 128.
float encode_query(const float* query, std::int64_t width, std::int8_t* code);

// out[r] = sum_i (code[r, i] - 128) query[i]. `sum`: sum_i query[i].
void code_products(const std::uint8_t* code, std::int64_t rows, std::int64_t width, const std::int8_t* query,
                   std::int32_t sum, std::int32_t* out);

}  // namespace trireme::worker::search
