#include "worker/data/images/decoders/isobmff.h"

#include <algorithm>

#include "worker/data/images/codec.h"

namespace trireme::worker::data {

std::string boxed_fault(std::int64_t pixels, std::size_t bytes) {
  if (pixels > kBoxedPixelLimit) return "too_large";
  const double seconds = static_cast<double>(pixels) / 30e6 + static_cast<double>(bytes) / 10e6;
  return seconds > kCpuLimitSeconds ? "too_slow" : "";
}

bool has_brand(std::string_view bytes, std::string_view brand) {
  if (bytes.size() < 16 || bytes.substr(4, 4) != "ftyp") return false;
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i) size = size * 256 + static_cast<unsigned char>(bytes[i]);
  size = std::min({size, bytes.size(), std::size_t{512}});
  for (std::size_t at = 8; at + 4 <= size; at += 4)
    if (at != 12 && bytes.substr(at, 4) == brand) return true;
  return false;
}

}  // namespace trireme::worker::data
