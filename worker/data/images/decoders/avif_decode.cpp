// AVIF by libavif (dav1d): the first picture.
#include <avif/avif.h>

#include <algorithm>
#include <memory>

#include "worker/data/images/codec.h"
#include "worker/data/images/decoders/isobmff.h"

namespace trireme::worker::data {
namespace {

using Decoder = std::unique_ptr<avifDecoder, void (*)(avifDecoder*)>;

const char* reason(avifResult result, const char* otherwise) {
  switch (result) {
    case AVIF_RESULT_OK:
      return "";
    case AVIF_RESULT_TRUNCATED_DATA:
      return "truncated_image";
    case AVIF_RESULT_OUT_OF_MEMORY:
      return "too_large";
    case AVIF_RESULT_NOT_IMPLEMENTED:
    case AVIF_RESULT_NO_CODEC_AVAILABLE:
      return "unsupported";
    default:
      return otherwise;
  }
}

std::string open(const Decoder& decoder, std::string_view bytes) {
  if (!decoder) return "too_large";
  decoder->maxThreads = 1;
  decoder->imageSizeLimit = kBoxedPixelLimit;
  decoder->imageDimensionLimit = kSideLimitPx;
  decoder->ignoreXMP = AVIF_TRUE;
  decoder->strictFlags = AVIF_STRICT_ALPHA_ISPE_REQUIRED;  // as Pillow: other writers' slips are read
  avifDecoderSetIOMemory(decoder.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  const char* fault = reason(avifDecoderParse(decoder.get()), "bad_header");
  if (*fault != '\0') {  // is it the limit alone?
    decoder->imageSizeLimit = AVIF_DEFAULT_IMAGE_SIZE_LIMIT;
    decoder->imageDimensionLimit = 0;
    return avifDecoderParse(decoder.get()) == AVIF_RESULT_OK ? "too_large" : fault;
  }
  const avifImage& image = *decoder->image;
  if (std::string large = size_fault(image.width, image.height); !large.empty()) return large;
  return boxed_fault(std::int64_t{image.width} * image.height * (image.depth > 8 ? 2 : 1), bytes.size());
}

std::string avif_info(std::string_view bytes, ImageInfo& info) {
  const Decoder decoder(avifDecoderCreate(), avifDecoderDestroy);
  const std::string fault = open(decoder, bytes);
  if (fault.empty()) info = {decoder->image->width, decoder->image->height, "avif"};
  return fault;
}

std::string decode_avif(std::string_view bytes, const DecodeRequest& request, Image& out) {
  const Decoder decoder(avifDecoderCreate(), avifDecoderDestroy);
  if (std::string fault = open(decoder, bytes); !fault.empty()) return fault;
  const std::int64_t width = decoder->image->width, height = decoder->image->height;
  const CropBox box = region_of(request, width, height);
  if (box.width == 0) return "unsupported";
  const CpuDeadline deadline;
  if (const char* fault = reason(avifDecoderNextImage(decoder.get()), "bad_decode"); *fault != '\0')
    return fault;
  if (deadline.passed()) return "too_slow";
  if (decoder->image->width != width || decoder->image->height != height) return "bad_decode";
  out = {width, height, {}};
  out.rgb.resize(static_cast<std::size_t>(out.width * out.height * 3));
  avifImageFreePlanes(decoder->image, AVIF_PLANES_A);  // or it is laid over black
  avifRGBImage rgb;
  avifRGBImageSetDefaults(&rgb, decoder->image);
  rgb.format = AVIF_RGB_FORMAT_RGB;
  rgb.depth = 8;
  rgb.pixels = out.rgb.data();
  rgb.rowBytes = static_cast<std::uint32_t>(out.width * 3);
  if (const char* fault = reason(avifImageYUVToRGB(decoder->image, &rgb), "unsupported"); *fault != '\0')
    return fault;
  crop_in_place(out, box);
  return "";
}

// Turned by its own boxes alone, whatever its EXIF says, as Pillow has it.
void avif_metadata(std::string_view bytes, Metadata& found) {
  const Decoder decoder(avifDecoderCreate(), avifDecoderDestroy);
  if (!open(decoder, bytes).empty()) return;
  const avifImage& image = *decoder->image;
  found.icc.assign(reinterpret_cast<const char*>(image.icc.data), image.icc.size);
  // A quarter turn to the left by each row, then not mirrored, top with bottom, left with right.
  constexpr int kOrientation[4][3] = {{1, 4, 2}, {8, 5, 7}, {3, 2, 4}, {6, 7, 5}};
  const int angle = (image.transformFlags & AVIF_TRANSFORM_IROT) != 0 ? image.irot.angle & 3 : 0;
  const int mirror = (image.transformFlags & AVIF_TRANSFORM_IMIR) != 0 ? 1 + (image.imir.mode & 1) : 0;
  found.orientation = kOrientation[angle][mirror];
}

}  // namespace

const Codec kAvif = {
    "avif", [](std::string_view bytes) { return has_brand(bytes, "avif") || has_brand(bytes, "avis"); },
    avif_info, decode_avif, avif_metadata};

}  // namespace trireme::worker::data
