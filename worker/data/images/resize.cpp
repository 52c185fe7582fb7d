#include "worker/data/images/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "worker/data/images/resample.h"

namespace trireme::worker::data {
namespace {

// A very long picture that would grow beyond this is cut to a middle of 8 : 1 before.
constexpr std::int64_t kMostResizedPixels = std::int64_t{1} << 24, kStretchLimit = 8;

// Interleaved [height, width, 3] bytes.
std::unique_ptr<std::uint8_t[]> resized(const Image& image, std::int64_t width, std::int64_t height,
                                        Filter filter) {
  std::unique_ptr<std::uint8_t[]> out(new std::uint8_t[static_cast<std::size_t>(width * height * 3)]);
  resample(image.rgb.data(), image.width, image.height, out.get(), width, height, filter);
  return out;
}

// One row of `width` pixels into three planes: byte * scale + shift. Separate multiply and add (no fused
// instruction), so that every CPU gives the same bits.
__attribute__((optimize("O3"), target_clones("avx2", "default"))) void normalize_row(
    const std::uint8_t* __restrict rgb, std::int64_t width, const float* __restrict scale,
    const float* __restrict shift, float* __restrict red, float* __restrict green, float* __restrict blue) {
  const float s0 = scale[0], s1 = scale[1], s2 = scale[2];
  const float t0 = shift[0], t1 = shift[1], t2 = shift[2];
  for (std::int64_t x = 0; x < width; ++x) {
    red[x] = static_cast<float>(rgb[3 * x]) * s0 + t0;
    green[x] = static_cast<float>(rgb[3 * x + 1]) * s1 + t1;
    blue[x] = static_cast<float>(rgb[3 * x + 2]) * s2 + t2;
  }
}

class Normalizer {
 public:
  explicit Normalizer(const Normalization& normalization) {
    for (std::size_t c = 0; c < 3; ++c) {
      scale_[c] = static_cast<float>(1.0 / (255.0 * static_cast<double>(normalization.std[c])));
      shift_[c] = static_cast<float>(-static_cast<double>(normalization.mean[c]) /
                                     static_cast<double>(normalization.std[c]));
    }
  }
  void row(const std::uint8_t* rgb, std::int64_t width, float* out, std::int64_t plane) const {
    normalize_row(rgb, width, scale_, shift_, out, out + plane, out + 2 * plane);
  }

 private:
  float scale_[3], shift_[3];
};

// Python's round(x / 2): half to even.
std::int64_t half_to_even(std::int64_t x) {
  return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(x) / 2));
}

// The middle of a very long picture, so that its resize stays small.
const Image& middle(const Image& image, std::int64_t resize_px, Image& storage) {
  const std::int64_t shorter = std::min(image.width, image.height), limit = kStretchLimit * shorter,
                     longer = std::max(image.width, image.height);
  if (longer <= limit || resize_px * longer / shorter * resize_px <= kMostResizedPixels) return image;
  const bool wide = image.width > image.height;
  const std::int64_t width = wide ? limit : image.width, height = wide ? image.height : limit;
  const std::int64_t x = (image.width - width) / 2, y = (image.height - height) / 2;
  storage = {width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width * height * 3))};
  for (std::int64_t row = 0; row < height; ++row) {
    std::memcpy(storage.rgb.data() + row * width * 3, image.rgb.data() + ((y + row) * image.width + x) * 3,
                static_cast<std::size_t>(width * 3));
  }
  return storage;
}

}  // namespace

Image resize_image(const Image& image, std::int64_t width, std::int64_t height, Filter filter) {
  Image out{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width * height * 3))};
  resample(image.rgb.data(), image.width, image.height, out.rgb.data(), width, height, filter);
  return out;
}

void resize_to(const Image& image, std::int64_t side, bool mirror, const Normalization& normalization,
               float* out_CHW, Filter filter) {
  normalize(resized(image, side, side, filter).get(), side, normalization, out_CHW);
  if (!mirror) return;
  for (std::int64_t line = 0; line < 3 * side; ++line) {
    std::reverse(out_CHW + line * side, out_CHW + (line + 1) * side);
  }
}

void resized_crop(const Image& image, std::int64_t resize_px, std::int64_t side, std::uint8_t* out_HWC,
                  Filter filter, bool square, bool crop_down) {
  Image storage;
  const Image& source = square ? image : middle(image, resize_px, storage);
  const std::int64_t shorter = std::min(source.width, source.height);
  const auto scaled = [&](std::int64_t px) {
    return square || px == shorter ? resize_px : resize_px * px / shorter;
  };
  const std::int64_t width = scaled(source.width), height = scaled(source.height);
  const auto pixels = resized(source, width, height, filter);
  // What lacks is halved down by all: the larger half of an odd lack lies right and below.
  const auto offset = [&](std::int64_t rest) {
    return crop_down || rest < 0 ? rest / 2 : half_to_even(rest);
  };
  const std::int64_t x0 = offset(width - side), y0 = offset(height - side);
  const std::int64_t first = std::max<std::int64_t>(0, -x0), last = std::min(side, width - x0);
  for (std::int64_t y = 0; y < side; ++y) {  // outside a picture smaller than the crop: black
    std::uint8_t* const row = out_HWC + y * side * 3;
    const bool inside = y + y0 >= 0 && y + y0 < height && first < last;
    if (!inside || last - first < side) std::fill(row, row + side * 3, std::uint8_t{0});
    if (inside)
      std::memcpy(row + first * 3, pixels.get() + ((y + y0) * width + x0 + first) * 3,
                  static_cast<std::size_t>((last - first) * 3));
  }
}

void normalize(const std::uint8_t* pixels_HWC, std::int64_t side, const Normalization& normalization,
               float* out_CHW) {
  const Normalizer normalizer(normalization);
  for (std::int64_t y = 0; y < side; ++y)
    normalizer.row(pixels_HWC + y * side * 3, side, out_CHW + y * side, side * side);
}

}  // namespace trireme::worker::data
