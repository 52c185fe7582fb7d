// How far apart two pictures of one size are, value by value.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace trireme::testing {

struct PixelDistance {
  int most = 0;
  double mean = 0;
};

// Both are bytes, equally many and at least one.
inline PixelDistance pixel_distance(std::string_view a, std::string_view b) {
  PixelDistance found;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const int apart = std::abs(static_cast<unsigned char>(a[i]) - static_cast<unsigned char>(b[i]));
    found.most = std::max(found.most, apart);
    found.mean += apart;
  }
  found.mean /= static_cast<double>(a.size());
  return found;
}

}  // namespace trireme::testing
