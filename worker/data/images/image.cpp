#include "worker/data/images/image.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <stdexcept>

#include "worker/data/images/codec.h"
#include "worker/data/images/icc_profile.h"
#include "worker/data/images/orientation.h"

namespace trireme::worker::data {
namespace {

const Codec* const kCodecs[] = {&kJpeg, &kPng, &kWebp, &kGif, &kBmp, &kTiff, &kAvif, &kHeic};

// By the bytes, never by the member's name.
const Codec* codec_of(std::string_view bytes) {
  const auto found = std::find_if(std::begin(kCodecs), std::end(kCodecs),
                                  [&](const Codec* one) { return one->starts(bytes); });
  return found == std::end(kCodecs) ? nullptr : *found;
}

// Memory that cannot be had is a property of the sample too.
template <class Decode>
std::string guarded(const Decode& decode) {
  try {
    return decode();
  } catch (const std::bad_alloc&) {
    return "too_large";
  } catch (const std::length_error&) {
    return "too_large";
  }
}

Metadata metadata_of(const Codec& codec, std::string_view bytes, const PictureOptions& options) {
  Metadata found;
  if (codec.metadata == nullptr || !(options.exif_orientation || options.icc_to_srgb)) return found;
  codec.metadata(bytes, found);
  if (!options.exif_orientation || found.orientation < 1 || found.orientation > 8) found.orientation = 1;
  if (!options.icc_to_srgb) found.icc.clear();
  return found;
}

}  // namespace

std::string size_fault(std::int64_t width, std::int64_t height) {
  if (width < 1 || height < 1) return "bad_header";
  if (width > kSideLimitPx || height > kSideLimitPx || width * height > kPixelLimit) return "too_large";
  return "";
}

CropBox region_of(const DecodeRequest& request, std::int64_t width, std::int64_t height) {
  if (request.width <= 0) return {0, 0, width, height};
  const std::int64_t x = std::clamp<std::int64_t>(request.x, 0, width);
  const std::int64_t y = std::clamp<std::int64_t>(request.y, 0, height);
  CropBox box{x, y, std::min(request.width, width - x), std::min(request.height, height - y)};
  if (box.width <= 0 || box.height <= 0) box = {};
  return box;
}

void crop_in_place(Image& image, const CropBox& box) {
  const auto row = static_cast<std::size_t>(box.width * 3);
  for (std::int64_t y = 0; y < box.height; ++y) {
    std::memmove(image.rgb.data() + static_cast<std::size_t>(y) * row,
                 image.rgb.data() + ((box.y + y) * image.width + box.x) * 3, row);
  }
  image.width = box.width;
  image.height = box.height;
  image.rgb.resize(row * static_cast<std::size_t>(box.height));
}

std::string memory_fault(std::int64_t bytes) {
  return bytes > kDecoderMemoryLimitBytes ? "too_large" : "";
}

std::string image_info(std::string_view bytes, ImageInfo& info, const PictureOptions& options) {
  if (bytes.empty()) return "empty_image";
  const Codec* codec = codec_of(bytes);
  if (codec == nullptr) return "unknown_format";
  return guarded([&]() -> std::string {
    const std::string fault = codec->info(bytes, info);
    if (fault.empty() && turns(metadata_of(*codec, bytes, options).orientation))
      std::swap(info.width, info.height);
    return fault;
  });
}

std::string decode_image(std::string_view bytes, const DecodeRequest& request, Image& out) {
  if (bytes.empty()) return "empty_image";
  const Codec* codec = codec_of(bytes);
  if (codec == nullptr) return "unknown_format";
  return guarded([&]() -> std::string {
    const Metadata found = metadata_of(*codec, bytes, request.options);
    DecodeRequest stored = request;
    ImageInfo info;
    if (found.orientation > 1 && request.width > 0) {
      if (std::string fault = codec->info(bytes, info); !fault.empty()) return fault;
      stored = stored_region(request, found.orientation, info.width, info.height);
    }
    std::string fault = codec->decode(bytes, stored, out);
    if (fault.empty() && !found.icc.empty()) fault = to_srgb(found.icc, out);
    if (fault.empty()) orient(out, found.orientation);
    return fault;
  });
}

CropBox random_crop(std::int64_t width, std::int64_t height, double scale_min, double scale_max,
                    double aspect_min, double aspect_max, RandomStream& random) {
  const double area = static_cast<double>(width) * static_cast<double>(height);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double target = area * random.uniform(scale_min, scale_max);
    const double aspect = std::exp(random.uniform(std::log(aspect_min), std::log(aspect_max)));
    const auto w = static_cast<std::int64_t>(std::nearbyint(std::sqrt(target * aspect)));
    const auto h = static_cast<std::int64_t>(std::nearbyint(std::sqrt(target / aspect)));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const auto y = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(height - h + 1)));
    const auto x = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(width - w + 1)));
    return {x, y, w, h};
  }
  const double aspect = static_cast<double>(width) / static_cast<double>(height);
  std::int64_t w = width, h = height;
  if (aspect < aspect_min) h = static_cast<std::int64_t>(std::nearbyint(static_cast<double>(w) / aspect_min));
  if (aspect > aspect_max) w = static_cast<std::int64_t>(std::nearbyint(static_cast<double>(h) * aspect_max));
  w = std::clamp<std::int64_t>(w, 1, width);
  h = std::clamp<std::int64_t>(h, 1, height);
  return {(width - w) / 2, (height - h) / 2, w, h};
}

}  // namespace trireme::worker::data
