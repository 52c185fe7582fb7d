#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <memory>

#include "worker/data/images/codec.h"
#include "worker/data/images/orientation.h"

namespace trireme::worker::data {
namespace {

constexpr std::size_t kPieceBytes = 64 * 1024;  // between looks at the clock

struct FreeDecoder {
  void operator()(WebPIDecoder* decoder) const { WebPIDelete(decoder); }
};

const std::uint8_t* data_of(std::string_view bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes.data());
}

std::string reason(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OK:
      return "";
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return "truncated_image";
    case VP8_STATUS_OUT_OF_MEMORY:
      return "too_large";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "unsupported";
    default:
      return "bad_decode";
  }
}

std::string features_of(std::string_view bytes, WebPBitstreamFeatures& features) {
  const VP8StatusCode status = WebPGetFeatures(data_of(bytes), bytes.size(), &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA) return "truncated_image";
  if (status != VP8_STATUS_OK) return "bad_header";
  if (features.has_animation) return "animated";
  return size_fault(features.width, features.height);
}

std::string webp_info(std::string_view bytes, ImageInfo& info) {
  WebPBitstreamFeatures features{};
  const std::string fault = features_of(bytes, features);
  if (!fault.empty()) return fault;
  info = {features.width, features.height, "webp"};
  return "";
}

std::string decode_webp(std::string_view bytes, const DecodeRequest& request, Image& out) {
  WebPBitstreamFeatures features{};
  const std::string fault = features_of(bytes, features);
  if (!fault.empty()) return fault;
  const CropBox box = region_of(request, features.width, features.height);
  if (box.width == 0) return "unsupported";
  // Lossless pictures are decoded to 32 bits first, with the transforms' own copy.
  const std::int64_t each = features.format == 2 ? 8 : 4;
  if (std::string large = memory_fault(each * features.width * features.height); !large.empty()) return large;
  out.width = features.width;
  out.height = features.height;
  out.rgb.resize(static_cast<std::size_t>(out.width * out.height * 3));
  const std::unique_ptr<WebPIDecoder, FreeDecoder> decoder(
      WebPINewRGB(MODE_RGB, out.rgb.data(), out.rgb.size(), static_cast<int>(out.width * 3)));
  if (!decoder) return "too_large";
  const CpuDeadline deadline;
  VP8StatusCode status = VP8_STATUS_SUSPENDED;
  for (std::size_t at = 0; at < bytes.size() && status == VP8_STATUS_SUSPENDED; at += kPieceBytes) {
    const std::size_t end = std::min(at + kPieceBytes, bytes.size());
    status = WebPIUpdate(decoder.get(), data_of(bytes), end);  // the whole of the bytes so far, not copied
    if (deadline.passed()) return "too_slow";
  }
  if (status != VP8_STATUS_OK) return reason(status);
  crop_in_place(out, box);
  return "";
}

void webp_metadata(std::string_view bytes, Metadata& found) {
  const WebPData data{data_of(bytes), bytes.size()};
  const std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)> demuxer(WebPDemux(&data), WebPDemuxDelete);
  WebPChunkIterator chunk{};
  const auto text = [&] {
    return std::string_view(reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size);
  };
  if (WebPDemuxGetChunk(demuxer.get(), "ICCP", 1, &chunk) != 0) found.icc = text();
  WebPDemuxReleaseChunkIterator(&chunk);
  found.orientation = 0;
  if (WebPDemuxGetChunk(demuxer.get(), "EXIF", 1, &chunk) != 0) found.orientation = exif_orientation(text());
  WebPDemuxReleaseChunkIterator(&chunk);
  if (found.orientation == 0 && WebPDemuxGetChunk(demuxer.get(), "XMP ", 1, &chunk) != 0)
    found.orientation = xmp_orientation(text());
  WebPDemuxReleaseChunkIterator(&chunk);
}

}  // namespace

const Codec kWebp = {"webp",
                     [](std::string_view bytes) {
                       return bytes.size() >= 12 && bytes.substr(0, 4) == "RIFF" &&
                              bytes.substr(8, 4) == "WEBP";
                     },
                     webp_info, decode_webp, webp_metadata};

}  // namespace trireme::worker::data
