// TIFF by libtiff: the first page, turned as it says (as Pillow does always). 8- and 16-bit grey and RGB
// samples are read as they are; what else libtiff can show (bits, CMYK, Lab, planes, YCbCr) comes through its
// RGBA reader.
#include <tiffio.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "worker/data/images/codec.h"
#include "worker/data/images/orientation.h"

namespace trireme::worker::data {
namespace {

struct Source {
  std::string_view bytes;
  std::uint64_t at = 0;
};
Source& source_of(thandle_t handle) {
  return *static_cast<Source*>(handle);
}
tmsize_t read(thandle_t handle, void* to, tmsize_t size) {
  Source& source = source_of(handle);
  if (source.at >= source.bytes.size() || size <= 0) return 0;
  const std::size_t count = std::min(static_cast<std::size_t>(size), source.bytes.size() - source.at);
  std::memcpy(to, source.bytes.data() + source.at, count);
  source.at += count;
  return static_cast<tmsize_t>(count);
}
toff_t seek(thandle_t handle, toff_t offset, int whence) {
  Source& source = source_of(handle);
  source.at = offset + (whence == SEEK_CUR ? source.at : whence == SEEK_END ? source.bytes.size() : 0);
  return source.at;
}
int map(thandle_t handle, void** base, toff_t* size) {
  *base = const_cast<char*>(source_of(handle).bytes.data());
  *size = source_of(handle).bytes.size();
  return 1;
}

struct Close {
  void operator()(TIFF* file) const { TIFFClose(file); }
};
using File = std::unique_ptr<TIFF, Close>;

File open_file(Source& source) {
  const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(),
                                                                             TIFFOpenOptionsFree);
  constexpr auto silent = [](TIFF*, void*, const char*, const char*, va_list) { return 1; };
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), kDecoderMemoryLimitBytes);
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), silent, nullptr);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), silent, nullptr);
  return File(TIFFClientOpenExt(
      "picture", "r", &source, read, [](thandle_t, void*, tmsize_t) -> tmsize_t { return 0; }, seek,
      [](thandle_t) { return 0; }, [](thandle_t handle) -> toff_t { return source_of(handle).bytes.size(); },
      map, [](thandle_t, void*, toff_t) {}, options.get()));
}

struct Page {
  std::uint32_t width = 0, height = 0;
  std::uint32_t piece_width = 0, piece_height = 0;  // of a tile; a strip is as wide as the page
  std::uint16_t bits = 1, samples = 1, photometric = 0, planar = PLANARCONFIG_CONTIG, compression = 1,
                format = SAMPLEFORMAT_UINT, orientation = ORIENTATION_TOPLEFT;
  bool tiled = false, premultiplied = false;
};

bool known_compression(std::uint16_t compression) {
  switch (compression) {
    case COMPRESSION_NONE:
    case COMPRESSION_CCITTRLE:
    case COMPRESSION_CCITTFAX3:
    case COMPRESSION_CCITTFAX4:
    case COMPRESSION_LZW:
    case COMPRESSION_JPEG:
    case COMPRESSION_ADOBE_DEFLATE:
    case COMPRESSION_DEFLATE:
    case COMPRESSION_PACKBITS:
    case COMPRESSION_ZSTD:
      return TIFFIsCODECConfigured(compression) == 1;
    default:
      return false;
  }
}

std::string read_page(TIFF* file, std::string_view bytes, Page& page) {
  TIFFGetField(file, TIFFTAG_IMAGEWIDTH, &page.width);
  TIFFGetField(file, TIFFTAG_IMAGELENGTH, &page.height);
  TIFFGetFieldDefaulted(file, TIFFTAG_BITSPERSAMPLE, &page.bits);
  TIFFGetFieldDefaulted(file, TIFFTAG_SAMPLESPERPIXEL, &page.samples);
  TIFFGetFieldDefaulted(file, TIFFTAG_PLANARCONFIG, &page.planar);
  TIFFGetFieldDefaulted(file, TIFFTAG_SAMPLEFORMAT, &page.format);
  TIFFGetFieldDefaulted(file, TIFFTAG_COMPRESSION, &page.compression);
  TIFFGetFieldDefaulted(file, TIFFTAG_ORIENTATION, &page.orientation);
  if (page.orientation < 1 || page.orientation > 8) page.orientation = ORIENTATION_TOPLEFT;
  if (std::string fault = size_fault(page.width, page.height); !fault.empty()) return fault;
  if (TIFFGetField(file, TIFFTAG_PHOTOMETRIC, &page.photometric) != 1) return "unsupported";
  if (!known_compression(page.compression)) return "unsupported";
  if (page.compression == COMPRESSION_JPEG) {
    if (bytes.find("\xFF\xC2") != std::string_view::npos)
      return "unsupported";  // progressive: a bomb of scans
    if (page.photometric == PHOTOMETRIC_YCBCR && page.planar == PLANARCONFIG_CONTIG) {
      TIFFSetField(file, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
      page.photometric = PHOTOMETRIC_RGB;
    }
  }
  std::uint16_t extras = 0;
  const std::uint16_t* kinds = nullptr;
  if (TIFFGetField(file, TIFFTAG_EXTRASAMPLES, &extras, &kinds) == 1 && extras > 0)
    page.premultiplied = kinds[0] == EXTRASAMPLE_ASSOCALPHA;
  page.tiled = TIFFIsTiled(file) != 0;
  page.piece_width = page.width;
  if (page.tiled) {
    TIFFGetField(file, TIFFTAG_TILEWIDTH, &page.piece_width);
    TIFFGetField(file, TIFFTAG_TILELENGTH, &page.piece_height);
  } else {
    TIFFGetFieldDefaulted(file, TIFFTAG_ROWSPERSTRIP, &page.piece_height);
    page.piece_height = std::min(page.piece_height, page.height);
  }
  if (page.piece_width == 0 || page.piece_height == 0) return "bad_header";
  return size_fault(page.piece_width, page.piece_height);
}

// Samples that are read as they are.
bool plain(const Page& page) {
  if ((page.bits != 8 && page.bits != 16) || page.format != SAMPLEFORMAT_UINT) return false;
  if (page.planar != PLANARCONFIG_CONTIG && page.samples > 1) return false;
  switch (page.photometric) {
    case PHOTOMETRIC_RGB:
      return page.samples >= 3;
    case PHOTOMETRIC_MINISBLACK:
      return page.bits == 8 || page.samples == 1;
    case PHOTOMETRIC_MINISWHITE:
      return page.bits == 8;
    default:
      return false;
  }
}

std::uint8_t unmultiplied(unsigned value, unsigned alpha) {
  return static_cast<std::uint8_t>(alpha == 0 ? 0 : std::min(255U, value * 255 / alpha));
}

// One row of a piece into RGB as Pillow shows it: RGB of 16 bits by its high bytes, grey of 16 bits up to
// 255.
void plain_row(const Page& page, const std::uint8_t* row, std::uint32_t width, std::uint8_t* rgb) {
  const bool colour = page.photometric == PHOTOMETRIC_RGB;
  for (std::uint32_t x = 0; x < width; ++x, rgb += 3) {
    unsigned value[4] = {};
    for (unsigned c = 0; c < std::min<unsigned>(page.samples, 4); ++c) {
      const std::size_t at = std::size_t{x} * page.samples + c;
      std::uint16_t wide = 0;
      if (page.bits == 16) std::memcpy(&wide, row + 2 * at, 2);
      value[c] = page.bits == 8 ? row[at] : colour ? wide >> 8 : std::min<unsigned>(wide, 255);
    }
    if (page.photometric == PHOTOMETRIC_MINISWHITE) value[0] = 255 - value[0];
    for (unsigned c = 0; c < 3; ++c) {
      rgb[c] = static_cast<std::uint8_t>(value[colour ? c : 0]);
      if (colour && page.premultiplied && page.samples >= 4) rgb[c] = unmultiplied(value[c], value[3]);
    }
  }
}

// Where a piece lies in the page, and how much of it.
struct Piece {
  std::uint32_t x, y, width, height;
};

std::string read_plain(TIFF* file, const Page& page, const Piece& piece, std::vector<std::uint8_t>& buffer,
                       Image& out) {
  const auto size = static_cast<tmsize_t>(buffer.size());
  const std::uint32_t number =
      page.tiled ? TIFFComputeTile(file, piece.x, piece.y, 0, 0) : TIFFComputeStrip(file, piece.y, 0);
  if (TIFFGetStrileOffset(file, number) + TIFFGetStrileByteCount(file, number) >
      source_of(TIFFClientdata(file)).bytes.size())
    return "truncated_image";
  const tmsize_t got = page.tiled ? TIFFReadEncodedTile(file, number, buffer.data(), size)
                                  : TIFFReadEncodedStrip(file, number, buffer.data(), size);
  const std::size_t stride = std::size_t{page.piece_width} * page.samples * page.bits / 8;
  if (got < static_cast<tmsize_t>(stride * piece.height)) return "bad_decode";
  for (std::uint32_t y = 0; y < piece.height; ++y)
    plain_row(page, buffer.data() + y * stride, piece.width,
              out.rgb.data() + ((std::int64_t{piece.y} + y) * out.width + piece.x) * 3);
  return "";
}

// The library's RGBA, whose rows go upwards.
std::string read_shown(TIFF* file, const Page& page, const Piece& piece, std::vector<std::uint8_t>& buffer,
                       Image& out) {
  auto* raster = reinterpret_cast<std::uint32_t*>(buffer.data());
  const int done = page.tiled ? TIFFReadRGBATileExt(file, piece.x, piece.y, raster, 1)
                              : TIFFReadRGBAStripExt(file, piece.y, raster, 1);
  if (done == 0) return "bad_decode";
  const std::uint32_t rows = page.tiled ? page.piece_height : piece.height;
  for (std::uint32_t y = 0; y < piece.height; ++y) {
    const std::uint32_t* row = raster + std::size_t{rows - 1 - y} * page.piece_width;
    std::uint8_t* rgb = out.rgb.data() + ((std::int64_t{piece.y} + y) * out.width + piece.x) * 3;
    for (std::uint32_t x = 0; x < piece.width; ++x, rgb += 3) {
      rgb[0] = static_cast<std::uint8_t>(TIFFGetR(row[x]));
      rgb[1] = static_cast<std::uint8_t>(TIFFGetG(row[x]));
      rgb[2] = static_cast<std::uint8_t>(TIFFGetB(row[x]));
    }
  }
  return "";
}

std::string read_pieces(TIFF* file, const Page& page, Image& out) {
  const bool as_is = plain(page);
  char why[1024];
  const bool colours_known = page.photometric <= PHOTOMETRIC_YCBCR;  // not Lab, LogLuv
  if (!as_is && (!colours_known || TIFFRGBAImageOK(file, why) == 0)) return "unsupported";
  const tmsize_t stored = page.tiled ? TIFFTileSize(file) : TIFFStripSize(file);
  const std::int64_t shown = std::int64_t{4} * page.piece_width * page.piece_height;
  const std::int64_t pixels = std::int64_t{page.width} * page.height;
  if (stored <= 0) return "too_large";
  const std::int64_t turned = page.orientation > 1 ? 3 * pixels : 0;
  if (std::string large = memory_fault(3 * pixels + turned + stored + (as_is ? 0 : shown)); !large.empty())
    return large;
  out = {page.width, page.height, {}};
  out.rgb.resize(static_cast<std::size_t>(3 * pixels));
  std::vector<std::uint8_t> buffer(static_cast<std::size_t>(as_is ? stored : shown));
  const CpuDeadline deadline;
  TIFFSetField(file, TIFFTAG_ORIENTATION, ORIENTATION_TOPLEFT);  // turned afterwards, whole
  for (std::uint32_t y = 0; y < page.height; y += page.piece_height) {
    for (std::uint32_t x = 0; x < page.width; x += page.piece_width) {
      const Piece piece{x, y, std::min(page.piece_width, page.width - x),
                        std::min(page.piece_height, page.height - y)};
      const std::string fault =
          as_is ? read_plain(file, page, piece, buffer, out) : read_shown(file, page, piece, buffer, out);
      if (!fault.empty()) return fault;
      if (deadline.passed()) return "too_slow";
    }
  }
  return "";
}

std::string open(File& file, Source& source, Page& page) {
  file = open_file(source);
  return file ? read_page(file.get(), source.bytes, page) : "bad_header";
}

std::string tiff_info(std::string_view bytes, ImageInfo& info) {
  Source source{bytes};
  File file;
  Page page;
  const std::string fault = open(file, source, page);
  if (fault.empty()) info = {page.width, page.height, "tiff"};
  if (fault.empty() && turns(page.orientation)) std::swap(info.width, info.height);
  return fault;
}

std::string decode_tiff(std::string_view bytes, const DecodeRequest& request, Image& out) {
  Source source{bytes};
  File file;
  Page page;
  if (std::string fault = open(file, source, page); !fault.empty()) return fault;
  const bool turned = turns(page.orientation);
  const CropBox box =
      region_of(request, turned ? page.height : page.width, turned ? page.width : page.height);
  if (box.width == 0) return "unsupported";
  std::string fault = read_pieces(file.get(), page, out);
  if (!fault.empty()) return fault;
  orient(out, page.orientation);
  crop_in_place(out, box);
  return "";
}

void tiff_metadata(std::string_view bytes, Metadata& found) {
  Source source{bytes};
  const File file = open_file(source);
  std::uint32_t size = 0;
  const void* profile = nullptr;
  if (file && TIFFGetField(file.get(), TIFFTAG_ICCPROFILE, &size, &profile) == 1)
    found.icc.assign(static_cast<const char*>(profile), size);
}

}  // namespace

const Codec kTiff = {"tiff",
                     [](std::string_view bytes) {
                       using namespace std::string_view_literals;
                       const auto start = bytes.substr(0, 4);
                       return start == "II\x2A\0"sv || start == "MM\0\x2A"sv || start == "II\x2B\0"sv ||
                              start == "MM\0\x2B"sv;
                     },
                     tiff_info, decode_tiff, tiff_metadata};

}  // namespace trireme::worker::data
