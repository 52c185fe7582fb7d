#include "worker/data/images/image_signature.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "worker/data/images/resize.h"

namespace trireme::worker::data {
namespace {

constexpr std::int64_t kSide = 32;
constexpr std::size_t kSideSize = kSide, kFrequencies = 12, kCells = 16;
constexpr double kLeast = 2, kMostDifference = 0.35, kNoise = 9 * double{kCellBytes};

using Frequency = std::pair<std::size_t, std::size_t>;  // down, across

const std::array<Frequency, 64>& lowest() {
  static const auto order = [] {
    std::vector<Frequency> all;
    for (std::size_t u = 0; u < kFrequencies; ++u)
      for (std::size_t v = 0; v < kFrequencies; ++v)
        if (u + v > 0) all.emplace_back(u, v);
    std::ranges::sort(all, {}, [](const Frequency& f) { return std::pair(f.first + f.second, f.first); });
    std::array<Frequency, 64> out;
    std::copy_n(all.begin(), out.size(), out.begin());
    return out;
  }();
  return order;
}

// basis[f][x] = s_f cos(pi (2 x + 1) f / 64), orthonormal over x.
const std::array<std::array<double, kSideSize>, kFrequencies>& basis() {
  static const auto table = [] {
    std::array<std::array<double, kSideSize>, kFrequencies> out{};
    for (std::size_t f = 0; f < kFrequencies; ++f)
      for (std::size_t x = 0; x < kSideSize; ++x)
        out[f][x] = std::sqrt((f == 0 ? 1.0 : 2.0) / kSideSize) *
                    std::cos(std::numbers::pi * static_cast<double>((2 * x + 1) * f) / (2.0 * kSideSize));
    return out;
  }();
  return table;
}

}  // namespace

ImageSignature image_signature(const Image& image) {
  const Image small = resize_image(image, kSide, kSide, Filter::kBilinear);
  std::array<std::array<double, kFrequencies>, kSideSize> rows{};  // transformed along each row
  std::array<int, kCellBytes> sums{};
  for (std::size_t y = 0; y < kSideSize; ++y) {
    std::array<double, kSideSize> luma{};
    for (std::size_t x = 0; x < kSideSize; ++x) {
      const std::uint8_t* rgb = &small.rgb[3 * (y * kSideSize + x)];
      luma[x] = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
      for (std::size_t c = 0; c < 3; ++c) sums[3 * (y / 2 * kCells + x / 2) + c] += rgb[c];
    }
    for (std::size_t f = 0; f < kFrequencies; ++f)
      for (std::size_t x = 0; x < kSideSize; ++x) rows[y][f] += basis()[f][x] * luma[x];
  }
  ImageSignature signature;
  for (std::size_t i = 0; i < 64; ++i) {
    const auto [down, across] = lowest()[i];
    double coefficient = 0;
    for (std::size_t y = 0; y < kSideSize; ++y) coefficient += basis()[down][y] * rows[y][across];
    if (coefficient > kLeast) signature.bits |= std::uint64_t{1} << i;
  }
  for (std::size_t i = 0; i < sums.size(); ++i)
    signature.cells[i] = static_cast<std::uint8_t>((sums[i] + 2) / 4);
  return signature;
}

bool cells_match(const SignatureView& a, const SignatureView& b) {
  std::int64_t difference = 0, squares = 0;
  std::array<std::int64_t, 3> of_a{}, of_b{};
  for (std::size_t i = 0; i < kCellBytes; ++i) {
    const std::int64_t x = a.cells[i], y = b.cells[i];
    difference += (x - y) * (x - y);
    squares += x * x + y * y;
    of_a[i % 3] += x;
    of_b[i % 3] += y;
  }
  double variation = static_cast<double>(squares) + 2 * kNoise;
  for (std::size_t c = 0; c < 3; ++c)
    variation -= 3 * static_cast<double>(of_a[c] * of_a[c] + of_b[c] * of_b[c]) / double{kCellBytes};
  return static_cast<double>(difference) < kMostDifference * kMostDifference * variation;
}

}  // namespace trireme::worker::data
