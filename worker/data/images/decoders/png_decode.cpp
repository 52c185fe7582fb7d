#include <spng.h>
#include <zlib.h>

#include <algorithm>
#include <memory>

#include "worker/data/images/codec.h"
#include "worker/data/images/orientation.h"

namespace trireme::worker::data {
namespace {

struct FreeContext {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};
using Context = std::unique_ptr<spng_ctx, FreeContext>;

const char* reason(int error, const char* otherwise) {
  switch (error) {
    case SPNG_IO_EOF:
      return "truncated_image";
    case SPNG_EMEM:
    case SPNG_EOVERFLOW:
    case SPNG_EUSER_WIDTH:
    case SPNG_EUSER_HEIGHT:
    case SPNG_ECHUNK_LIMITS:
      return "too_large";
    default:
      return otherwise;
  }
}

std::string open(const Context& context, std::string_view bytes, spng_ihdr& header) {
  if (!context) return "too_large";
  spng_set_image_limits(context.get(), 0x7fffffff, 0x7fffffff);  // size_fault() judges
  spng_set_chunk_limits(context.get(), std::size_t{16} << 20, std::size_t{64} << 20);
  if (const int error = spng_set_png_buffer(context.get(), bytes.data(), bytes.size()))
    return reason(error, "bad_header");
  if (const int error = spng_get_ihdr(context.get(), &header)) return reason(error, "bad_header");
  return size_fault(header.width, header.height);
}

// Every row of the picture, interlaced ones too, at its place in `pixels`.
std::string read_all(const Context& context, int format, std::size_t row_bytes, std::uint8_t* pixels,
                     std::int64_t rows_wanted, bool interlaced) {
  if (const int error = spng_decode_image(context.get(), nullptr, 0, format, SPNG_DECODE_PROGRESSIVE))
    return reason(error, "bad_decode");
  const CpuDeadline deadline;
  spng_row_info row{};
  for (int error = 0; error != SPNG_EOI;) {
    if (const int failed = spng_get_row_info(context.get(), &row)) return reason(failed, "bad_decode");
    if (!interlaced && row.row_num >= rows_wanted) return "";
    error = spng_decode_row(context.get(), pixels + row.row_num * row_bytes, row_bytes);
    if (error != 0 && error != SPNG_EOI) return reason(error, "bad_decode");
    if (deadline.passed()) return "too_slow";
  }
  return "";
}

// 16-bit grey as Pillow's mode I;16 becomes RGB: values over 255 are white.
void grey16_to_rgb(Image& image, const std::vector<std::uint16_t>& grey) {
  image.rgb.resize(grey.size() * 3);
  for (std::size_t i = 0; i < grey.size(); ++i) {
    const auto value = static_cast<std::uint8_t>(grey[i] > 255 ? 255 : grey[i]);
    for (std::size_t c = 0; c < 3; ++c) image.rgb[3 * i + c] = value;
  }
}

std::string png_info(std::string_view bytes, ImageInfo& info) {
  const Context context(spng_ctx_new(0));
  spng_ihdr header{};
  const std::string fault = open(context, bytes, header);
  if (!fault.empty()) return fault;
  info = {header.width, header.height, "png"};
  return "";
}

std::string decode_png(std::string_view bytes, const DecodeRequest& request, Image& out) {
  const Context context(spng_ctx_new(0));
  spng_ihdr header{};
  std::string fault = open(context, bytes, header);
  if (!fault.empty()) return fault;
  const CropBox box = region_of(request, header.width, header.height);
  if (box.width == 0) return "unsupported";
  const bool interlaced = header.interlace_method != 0;
  const std::int64_t rows = interlaced ? header.height : box.y + box.height;
  const auto pixels = static_cast<std::size_t>(rows * header.width);
  out.width = header.width;
  out.height = rows;
  if (header.color_type == SPNG_COLOR_TYPE_GRAYSCALE && header.bit_depth == 16) {
    if (!memory_fault(static_cast<std::int64_t>(pixels) * 5).empty()) return "too_large";
    std::vector<std::uint16_t> grey(pixels);
    fault = read_all(context, SPNG_FMT_PNG, std::size_t{header.width} * 2,
                     reinterpret_cast<std::uint8_t*>(grey.data()), rows, interlaced);
    if (fault.empty()) grey16_to_rgb(out, grey);
  } else {
    out.rgb.resize(pixels * 3);
    fault = read_all(context, SPNG_FMT_RGB8, std::size_t{header.width} * 3, out.rgb.data(), rows, interlaced);
  }
  if (fault.empty()) crop_in_place(out, box);
  return fault;
}

std::string_view from(std::string_view text, std::size_t at) {
  return text.substr(std::min(at, text.size()));
}

// At most a megabyte of a deflated text, "" when it is damaged.
std::string inflated(std::string_view deflated) {
  std::string out(std::size_t{1} << 20, '\0');
  uLongf size = out.size();
  const auto* const source = reinterpret_cast<const Bytef*>(deflated.data());
  if (uncompress(reinterpret_cast<Bytef*>(out.data()), &size, source, deflated.size()) != Z_OK) return "";
  out.resize(size);
  return out;
}

// EXIF as older programs wrote it into a text: "\nexif\n     108\n" and hex digits in lines.
std::string raw_profile(std::string_view text) {
  std::string out;
  for (int line = 0; line < 3; ++line) text = from(text, std::min(text.find('\n'), text.size() - 1) + 1);
  int half = -1;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) continue;
    if (half >= 0) out += static_cast<char>(half * 16 + digit);
    half = half >= 0 ? -1 : digit;
  }
  return out;
}

// Before the pixels or behind them, as Pillow looks: eXIf, else a text with a raw profile; then XMP.
int png_orientation(std::string_view bytes) {
  using namespace std::string_view_literals;
  constexpr std::string_view kRaw = "Raw profile type exif\0"sv, kXmp = "XML:com.adobe.xmp\0"sv;
  std::string raw;
  int exif = -1, xmp = 0;
  for (std::size_t at = 8; at + 12 <= bytes.size();) {
    std::size_t size = 0;
    for (std::size_t i = 0; i < 4; ++i) size = size << 8 | static_cast<unsigned char>(bytes[at + i]);
    const std::string_view kind = bytes.substr(at + 4, 4), body = bytes.substr(at + 8, size);
    if (body.size() < size) break;
    at += 12 + size;
    if (kind == "eXIf") exif = exif_orientation(body);
    if (kind == "tEXt" && body.starts_with(kRaw)) raw = raw_profile(from(body, kRaw.size()));
    if (kind == "zTXt" && body.starts_with(kRaw)) raw = raw_profile(inflated(from(body, kRaw.size() + 1)));
    if (kind != "iTXt" || !body.starts_with(kXmp)) continue;
    std::string_view text = from(body, kXmp.size() + 2);  // behind language and translated keyword
    for (int zero = 0; zero < 2; ++zero) text = from(text, std::min(text.find('\0'), text.size()) + 1);
    const bool deflated = body.size() > kXmp.size() && body[kXmp.size()] != '\0';
    xmp = xmp_orientation(deflated ? inflated(text) : std::string(text));
  }
  if (exif < 0) exif = exif_orientation(raw);
  return exif > 0 ? exif : xmp;
}

void png_metadata(std::string_view bytes, Metadata& found) {
  const Context context(spng_ctx_new(0));
  spng_ihdr header{};
  if (!open(context, bytes, header).empty()) return;
  spng_iccp profile{};
  if (spng_get_iccp(context.get(), &profile) == 0) found.icc.assign(profile.profile, profile.profile_len);
  found.orientation = png_orientation(bytes);
}

}  // namespace

const Codec kPng = {"png", [](std::string_view bytes) { return bytes.substr(0, 8) == "\x89PNG\r\n\x1A\n"; },
                    png_info, decode_png, png_metadata};

}  // namespace trireme::worker::data
