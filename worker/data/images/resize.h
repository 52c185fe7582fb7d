// Antialiased resize of 8-bit RGB (resample.h: Pillow's algorithm with shorter weights): at most 1 level from
// Pillow's Image.resize(BICUBIC or BILINEAR), tested against its output. One thread per call.
#pragma once

#include <cstdint>

#include "worker/data/images/image.h"

namespace trireme::worker::data {

Image resize_image(const Image& image, std::int64_t width, std::int64_t height, Filter filter);

// Evaluation: short side to resize_px (long side truncated), or with `square` both sides, which distorts;
// centre crop side x side with offset (size-side)/2, rounded half to even, or down with `crop_down`.
// Interleaved bytes, side x side; normalize() makes planes of them.
void resized_crop(const Image& image, std::int64_t resize_px, std::int64_t side, std::uint8_t* out_HWC,
                  Filter filter, bool square, bool crop_down);
void normalize(const std::uint8_t* pixels_HWC, std::int64_t side, const Normalization& normalization,
               float* out_CHW);

}  // namespace trireme::worker::data
