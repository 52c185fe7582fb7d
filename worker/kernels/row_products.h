// Products of a few rows with a matrix that is far larger than a cache, and attention of a few queries over
// tokens that are keys and values at once: what a decoding step consists of. float32, row-major, widths a
// multiple of kLanes<float>. One thread; made for AVX-512 (32 registers), right on every machine.
//
// A library's matrix product repacks the matrix, or is a vector's product row after row; with 16 rows and two
// cores either reads it at a quarter of the memory's bandwidth. Here a tile of 4 rows by 6 lines of the
// matrix stays in registers and a line is read from memory once.
#pragma once

#include <cstdint>

namespace trireme::worker::kernels {

// y[r, o] = sum_k x[r, k] w[o, k] + bias[o]; `bias` may be null.
struct RowProducts {
  const float* x;  // [rows, width]
  const float* w;  // [outputs, width]
  const float* bias;
  float* y;  // [rows, outputs]
  std::int64_t rows, outputs, width;
};
void row_products(const RowProducts& products, std::int64_t first_output, std::int64_t last_output);

// mixed[q] = sum_s softmax_s(query[q] · token[s]) token[s], a tile of tokens after the other, with sums
// relative to a running maximum.
struct TokenAttention {
  const float* query;  // [queries, width]
  const float* token;  // [tokens, width], at least one
  float* mixed;        // [queries, width]
  std::int64_t queries, tokens, width;
};
// `room`: attention_room() floats that are the call's own.
std::int64_t attention_room(std::int64_t queries, std::int64_t width);
void attend_tokens(const TokenAttention& attention, float* room);

}  // namespace trireme::worker::kernels
