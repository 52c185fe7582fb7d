// A perceptual hash: what a picture looks like in 64 bits and 256 coloured cells, so that copies which were
// re-encoded, resized or slightly cropped differ in little.
//   The picture, brought to 32 x 32 (antialiased bilinear, the shape is not kept), gives Y = .299 R + .587 G
//   + .114 B. Bit i is set where the i-th of the 64 lowest coefficients of Y's orthonormal DCT-II (without
//   the mean; order of u + v, then u) is over 2, which the noise of an encoder in a plain area is not. Cells:
//   means of 2 x 2 pixels of the 32 x 32, RGB.
// The hash follows pHash (Zauner 2010, section 3.2.1: signs of low DCT frequencies); the cells keep apart
// what only has the same coarse structure.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "worker/data/images/image.h"

namespace trireme::worker::data {

inline constexpr std::size_t kCellBytes = 16 * 16 * 3;

struct ImageSignature {
  std::uint64_t bits = 0;
  std::array<std::uint8_t, kCellBytes> cells{};  // row by row, RGB
};

// The same, anywhere in memory.
struct SignatureView {
  std::uint64_t bits = 0;
  const std::uint8_t* cells = nullptr;
};

// A picture of at least 1 x 1 px. Thread-safe.
ImageSignature image_signature(const Image& image);

inline int hash_distance(std::uint64_t a, std::uint64_t b) {
  return std::popcount(a ^ b);
}

// sum (a - b)^2 < 0.35^2 (V(a) + V(b)) over the cells' bytes, V(x) = sum (x - mean of x's channel)^2 + 768 *
// 9: the cells differ by much less than each varies in itself.
bool cells_match(const SignatureView& a, const SignatureView& b);

}  // namespace trireme::worker::data
