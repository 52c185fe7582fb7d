// Separable antialiased resampling of 8-bit RGB in fixed point, rows first and columns after, rounded to
// bytes between. Integer arithmetic: every CPU gives the same bytes, and they are those of torch's uint8
// kernels
// (_upsample_bicubic2d_aa and _upsample_bilinear2d_aa; a test compares).
//   out[i] = clamp((2^(p-1) + sum_j w_ij in[j]) >> p),  w_ij = round(2^p f((j + 1/2 - c_i) / s) / sum)
//   c_i = (i + 1/2) in / out, s = max(1, in / out); j runs over the support of f (Keys' cubic, a = -1/2, or
//   the triangle) around c_i; p is the greatest precision at which the greatest weight stays below 2^15.
// With Pillow's weights p is 22, and the bytes are those of Pillow 13's Image.resize, which takes the columns
// first where a picture loses more than twice as many rows as columns (a golden file holds some).
#pragma once

#include <cstdint>

#include "worker/data/images/image.h"

namespace trireme::worker::data {

// From width x height interleaved pixels to out_width x out_height of them, every side >= 1. One thread.
void resample(const std::uint8_t* rgb, std::int64_t width, std::int64_t height, std::uint8_t* out,
              std::int64_t out_width, std::int64_t out_height, Filter filter);

}  // namespace trireme::worker::data
