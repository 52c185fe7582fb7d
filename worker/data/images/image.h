// Encoded bytes -> RGB pixels -> normalised tensor, with the limits of RELIABILITY 5: header first, <= 16,384
// px a side, <= 64 Mpx, <= 100 scans, 2 s and 256 MiB per image. Damage is a return value, never a throw.
// Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/random.h"

namespace trireme::worker::data {

// Interleaved 8-bit RGB, row by row.
struct Image {
  std::int64_t width = 0, height = 0;
  std::vector<std::uint8_t> rgb;
};

struct ImageInfo {
  std::int64_t width = 0, height = 0;
  std::string format;  // "jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "heic"
};

// What else than its pixels a picture may carry and who reads it may want; both off: the pixels as stored.
struct PictureOptions {
  bool exif_orientation = false;  // turned as Pillow's ImageOps.exif_transpose does
  bool icc_to_srgb = false;  // colours of its ICC profile to sRGB, as ImageCms.profileToProfile (perceptual)
};

// "" when fine, else why not: "empty_image", "unknown_format", "bad_header", "too_large", "bad_decode",
// "truncated_image", "too_many_scans", "too_slow", "animated", "unsupported", "bad_profile". Grey, 16-bit,
// palette, alpha and CMYK pictures become RGB as Pillow's convert("RGB") does; of a GIF, an AVIF or HEIC
// sequence and a TIFF of several pages the first picture is taken. TIFF and HEIC are always turned as they
// say.
std::string image_info(std::string_view bytes, ImageInfo& info, const PictureOptions& options = {});

struct DecodeRequest {
  // Region of the full picture (as image_info sees it with these options), all of it when width is 0.
  std::int64_t x = 0, y = 0, width = 0, height = 0;
  // JPEG may decode at 1/2 or 1/4 scale when the region's sides stay >= this; 0: full decode (exact).
  std::int64_t least_side_px = 0;
  PictureOptions options = {};
};
// The region, maybe scaled down. `out` is the region's pixels only.
std::string decode_image(std::string_view bytes, const DecodeRequest& request, Image& out);

struct CropBox {
  std::int64_t x = 0, y = 0, width = 0, height = 0;
};
// torchvision's RandomResizedCrop parameters (10 tries, then centre), drawn from the stream.
CropBox random_crop(std::int64_t width, std::int64_t height, double scale_min, double scale_max,
                    double aspect_min, double aspect_max, RandomStream& random);

// Normalisation (byte/255 - mean)/std per channel.
struct Normalization {
  std::array<float, 3> mean{}, std{};
};

// How pictures change size: antialiased bicubic or bilinear, with torch's weights or with Pillow's.
enum class Filter { kBicubic, kBilinear, kPillowBicubic, kPillowBilinear };

// Resize of the whole of `image` to side x side, optional mirror, normalised, into CHW floats.
void resize_to(const Image& image, std::int64_t side, bool mirror, const Normalization& normalization,
               float* out_CHW, Filter filter = Filter::kBicubic);

// JPEG of the picture scaled to fit `side` (thumbnails of reports and contact sheets).
std::string jpeg_thumbnail(const Image& image, std::int64_t side, int quality = 80);
std::string encode_jpeg(const Image& image, int quality);

}  // namespace trireme::worker::data
