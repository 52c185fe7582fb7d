// Pictures in boxes (AVIF, HEIC): which of the two the bytes are, and the limits that both have. Their
// decoders cannot be interrupted, so what a picture may cost is judged by its size before it is decoded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trireme::worker::data {

// "" when `pixels` coded in `bytes` stay within 2 s (measured: 30 Mpx/s where little is coded, 10 MB/s where
// much is) and 256 MiB (up to 10 bytes a pixel), else "too_slow" or "too_large".
std::string boxed_fault(std::int64_t pixels, std::size_t bytes);
inline constexpr std::int64_t kBoxedPixelLimit = std::int64_t{25} << 20;

// Whether the file type box names the brand, as its own or a compatible one.
bool has_brand(std::string_view bytes, std::string_view brand);

}  // namespace trireme::worker::data
