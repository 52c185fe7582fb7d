// GIF by giflib: the first frame on its screen, as Pillow shows it.
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "worker/data/images/codec.h"

namespace trireme::worker::data {
namespace {

struct Source {
  std::string_view rest;
};

int read(GifFileType* file, GifByteType* to, int count) {
  auto& rest = static_cast<Source*>(file->UserData)->rest;
  const std::size_t size = std::min(rest.size(), static_cast<std::size_t>(count));
  std::memcpy(to, rest.data(), size);
  rest.remove_prefix(size);
  return static_cast<int>(size);
}

struct Close {
  void operator()(GifFileType* file) const { DGifCloseFile(file, nullptr); }
};
using File = std::unique_ptr<GifFileType, Close>;

const char* reason(int error, const char* otherwise) {
  switch (error) {
    case D_GIF_ERR_READ_FAILED:
    case D_GIF_ERR_EOF_TOO_SOON:
      return "truncated_image";
    case D_GIF_ERR_NOT_ENOUGH_MEM:
      return "too_large";
    default:
      return otherwise;
  }
}

struct Frame {
  std::int64_t width = 0, height = 0;  // of the screen, grown to hold the frame
  int transparent = -1;
};

// Walks to the first picture; its descriptor is read then.
std::string open(File& file, Source& source, Frame& frame) {
  int error = 0;
  file.reset(DGifOpen(&source, read, &error));
  if (!file) return reason(error, "bad_header");
  for (GifRecordType type = UNDEFINED_RECORD_TYPE; type != IMAGE_DESC_RECORD_TYPE;) {
    if (DGifGetRecordType(file.get(), &type) == GIF_ERROR) return reason(file->Error, "bad_header");
    if (type == TERMINATE_RECORD_TYPE) return "bad_header";  // no picture at all
    if (type != EXTENSION_RECORD_TYPE) continue;
    int code = 0;
    GifByteType* block = nullptr;
    if (DGifGetExtension(file.get(), &code, &block) == GIF_ERROR) return reason(file->Error, "bad_header");
    GraphicsControlBlock control{};
    if (block != nullptr && code == GRAPHICS_EXT_FUNC_CODE &&
        DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK)
      frame.transparent = control.TransparentColor;
    while (block != nullptr)
      if (DGifGetExtensionNext(file.get(), &block) == GIF_ERROR) return reason(file->Error, "bad_header");
  }
  if (DGifGetImageDesc(file.get()) == GIF_ERROR) return reason(file->Error, "bad_header");
  const GifImageDesc& image = file->Image;
  frame.width = std::max<std::int64_t>(file->SWidth, std::int64_t{image.Left} + image.Width);
  frame.height = std::max<std::int64_t>(file->SHeight, std::int64_t{image.Top} + image.Height);
  if (image.Width < 1 || image.Height < 1) return "bad_header";
  return size_fault(frame.width, frame.height);
}

// 256 colours; those that the file leaves out are grey, as in Pillow.
std::vector<std::uint8_t> palette_of(const GifFileType& file) {
  std::vector<std::uint8_t> colours(3 * 256);
  for (std::size_t i = 0; i < colours.size(); ++i) colours[i] = static_cast<std::uint8_t>(i / 3);
  const ColorMapObject* map = file.Image.ColorMap != nullptr ? file.Image.ColorMap : file.SColorMap;
  for (int i = 0; map != nullptr && i < map->ColorCount; ++i) {
    const std::size_t place = 3 * static_cast<std::size_t>(i);
    colours[place] = map->Colors[i].Red;
    colours[place + 1] = map->Colors[i].Green;
    colours[place + 2] = map->Colors[i].Blue;
  }
  return colours;
}

std::string read_frame(GifFileType* file, const std::vector<std::uint8_t>& colours, Image& out) {
  const GifImageDesc& image = file->Image;
  std::vector<GifPixelType> line(static_cast<std::size_t>(image.Width));
  const CpuDeadline deadline;
  constexpr int kFirst[] = {0, 4, 2, 1}, kStep[] = {8, 8, 4, 2};
  for (int pass = image.Interlace ? 0 : 3; pass < 4; ++pass) {
    const int first = image.Interlace ? kFirst[pass] : 0, step = image.Interlace ? kStep[pass] : 1;
    for (int y = first; y < image.Height; y += step) {
      if (DGifGetLine(file, line.data(), image.Width) == GIF_ERROR) return reason(file->Error, "bad_decode");
      std::uint8_t* to = out.rgb.data() + ((image.Top + y) * out.width + image.Left) * 3;
      for (const GifPixelType index : line) {
        std::memcpy(to, &colours[std::size_t{3} * index], 3);
        to += 3;
      }
      if (deadline.passed()) return "too_slow";
    }
  }
  return "";
}

std::string gif_info(std::string_view bytes, ImageInfo& info) {
  Source source{bytes};
  File file;
  Frame frame;
  const std::string fault = open(file, source, frame);
  if (fault.empty()) info = {frame.width, frame.height, "gif"};
  return fault;
}

std::string decode_gif(std::string_view bytes, const DecodeRequest& request, Image& out) {
  Source source{bytes};
  File file;
  Frame frame;
  if (std::string fault = open(file, source, frame); !fault.empty()) return fault;
  const CropBox box = region_of(request, frame.width, frame.height);
  if (box.width == 0) return "unsupported";
  const auto colours = palette_of(*file);
  out = {frame.width, frame.height, {}};
  const std::size_t ground = frame.transparent < 0 ? 0 : static_cast<std::size_t>(3 * frame.transparent);
  out.rgb.resize(static_cast<std::size_t>(frame.width * frame.height * 3));
  if (file->Image.Width < frame.width || file->Image.Height < frame.height)
    for (std::size_t at = 0; at < out.rgb.size(); at += 3) std::memcpy(&out.rgb[at], &colours[ground], 3);
  std::string fault = read_frame(file.get(), colours, out);
  if (fault.empty()) crop_in_place(out, box);
  return fault;
}

}  // namespace

const Codec kGif = {
    "gif",
    [](std::string_view bytes) { return bytes.substr(0, 6) == "GIF87a" || bytes.substr(0, 6) == "GIF89a"; },
    gif_info, decode_gif, nullptr};

}  // namespace trireme::worker::data
