// BMP (Windows 2 … 5, OS/2): 1, 4, 8 bits with a palette, RLE, 16, 24 and 32 bits with the masks that Pillow
// knows.
#include <algorithm>
#include <array>
#include <cstring>

#include "worker/data/images/codec.h"

namespace trireme::worker::data {
namespace {

enum Compression : std::uint32_t { kRaw = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3 };

struct Header {
  std::int64_t width = 0, height = 0;
  bool top_down = false;
  std::uint32_t bits = 0, compression = kRaw;
  std::array<std::uint32_t, 3> masks{};  // red, green, blue of 16 and 32 bits
  std::string_view palette, pixels;
  std::size_t first = 0;         // of the pixels in the file
  std::size_t colour_bytes = 4;  // of the palette: blue, green, red and maybe one more
};

std::uint32_t number(std::string_view bytes, std::size_t at, std::size_t size) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < size && at + i < bytes.size(); ++i)
    value |= std::uint32_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  return value;
}

std::string read_masks(std::string_view bytes, Header& header) {
  if (header.compression != kBitFields) {
    if (header.bits == 16) header.masks = {0x7C00, 0x3E0, 0x1F};
    if (header.bits == 32) header.masks = {0xFF0000, 0xFF00, 0xFF};
    return "";
  }
  for (std::size_t c = 0; c < 3; ++c) header.masks[c] = number(bytes, 54 + 4 * c, 4);
  using Masks = std::array<std::uint32_t, 3>;
  if (header.bits == 32 && header.masks == Masks{}) header.masks = {0xFF0000, 0xFF00, 0xFF};
  const auto is_one_of = [&](std::initializer_list<Masks> known) {
    return std::find(known.begin(), known.end(), header.masks) != known.end();
  };
  const bool known = header.bits == 16   ? is_one_of({{0xF800, 0x7E0, 0x1F}, {0x7C00, 0x3E0, 0x1F}})
                     : header.bits == 24 ? is_one_of({{0xFF0000, 0xFF00, 0xFF}})
                     : header.bits == 32 ? is_one_of({{0xFF0000, 0xFF00, 0xFF},
                                                      {0xFF000000, 0xFF0000, 0xFF00},
                                                      {0xFF000000, 0xFF00, 0xFF},
                                                      {0xFF, 0xFF00, 0xFF0000}})
                                         : false;
  return known ? "" : "unsupported";
}

std::string read_header(std::string_view bytes, Header& header) {
  if (bytes.size() < 26) return "truncated_image";
  const std::size_t size = number(bytes, 14, 4), offset = number(bytes, 10, 4);
  std::size_t colours = 0;
  if (size == 12) {
    header.width = number(bytes, 18, 2);
    header.height = number(bytes, 20, 2);
    header.bits = number(bytes, 24, 2);
    header.colour_bytes = 3;
  } else if (size == 40 || size == 52 || size == 56 || size == 64 || size == 108 || size == 124) {
    if (bytes.size() < 14 + size) return "truncated_image";
    header.width = number(bytes, 18, 4);
    const std::uint32_t height = number(bytes, 22, 4);
    header.top_down = height >> 24 == 0xFF;
    header.height = header.top_down ? std::int64_t{1} << 32 : 0;
    header.height += header.top_down ? -std::int64_t{height} : std::int64_t{height};
    header.bits = number(bytes, 28, 2);
    header.compression = number(bytes, 30, 4);
    colours = number(bytes, 46, 4);
  } else {
    return "unsupported";
  }
  if (std::string fault = size_fault(header.width, header.height); !fault.empty()) return fault;
  if (header.compression > kBitFields) return "unsupported";
  const bool rle = header.compression == kRle4 || header.compression == kRle8;
  const std::uint32_t bits = header.bits;
  if (bits <= 8 ? bits != 1 && bits != 4 && bits != 8 : rle || (bits != 16 && bits != 24 && bits != 32))
    return "unsupported";
  if (rle && bits != (header.compression == kRle4 ? 4U : 8U)) return "unsupported";
  if (bits <= 8 && header.compression == kBitFields) return "unsupported";
  if (bits <= 8)
    header.palette =
        bytes.substr(14 + size, (colours == 0 ? std::size_t{1} << bits : colours) * header.colour_bytes);
  header.first = offset;
  header.pixels = bytes.substr(std::min(offset, bytes.size()));
  return read_masks(bytes, header);
}

// ---- palettes

using Palette = std::array<std::array<std::uint8_t, 3>, 256>;

// Colours that the file leaves out are grey, as in Pillow.
Palette palette_of(const Header& header) {
  Palette palette;
  for (std::size_t i = 0; i < palette.size(); ++i) {
    palette[i].fill(static_cast<std::uint8_t>(i));
    const std::size_t at = i * header.colour_bytes;
    if (at + 3 > header.palette.size()) continue;
    for (std::size_t c = 0; c < 3; ++c) palette[i][c] = static_cast<std::uint8_t>(header.palette[at + 2 - c]);
  }
  return palette;
}

// Run-length coded indices, the lowest row first; what the code leaves out is 0.
std::string expand_rle(const Header& header, std::vector<std::uint8_t>& indices) {
  const std::string_view code = header.pixels;
  const bool nibbles = header.compression == kRle4;
  const auto width = static_cast<std::size_t>(header.width);
  const auto pixel = [&](std::size_t byte, std::size_t i) {
    const auto both = static_cast<unsigned char>(code[byte]);
    return static_cast<std::uint8_t>(!nibbles ? both : i % 2 == 0 ? both >> 4 : both & 15);
  };
  std::size_t at = 0, to = 0, x = 0;
  while (to < indices.size()) {
    if (at + 2 > code.size()) return "truncated_image";
    const auto count = static_cast<unsigned char>(code[at]), what = static_cast<unsigned char>(code[at + 1]);
    at += 2;
    if (count > 0) {  // a run, cut at the row's end
      const std::size_t run = std::min<std::size_t>({count, width - std::min(x, width), indices.size() - to});
      for (std::size_t i = 0; i < run; ++i) indices[to++] = pixel(at - 1, i);
      x += run;
    } else if (what == 0) {
      to = (to + width - 1) / width * width;
      x = 0;
    } else if (what == 1) {
      return "";
    } else if (what == 2) {
      if (at + 2 > code.size()) return "truncated_image";
      to += static_cast<unsigned char>(code[at]) + static_cast<unsigned char>(code[at + 1]) * width;
      at += 2;
      x = to % width;
    } else {
      const std::size_t pixels = std::min<std::size_t>(what, indices.size() - to);
      const std::size_t size = nibbles ? (pixels + 1) / 2 : pixels;
      if (at + size > code.size()) return "truncated_image";
      for (std::size_t i = 0; i < pixels; ++i) indices[to++] = pixel(at + (nibbles ? i / 2 : i), i);
      x += what;
      at += size;
      at += (header.first + at) % 2;  // to an even place in the file
    }
  }
  return "";
}

// ---- rows

std::uint8_t channel(std::uint32_t pixel, std::uint32_t mask) {
  if (mask == 0) return 0;
  const int low = __builtin_ctz(mask);
  const std::uint32_t most = mask >> low, value = (pixel & mask) >> low;
  return static_cast<std::uint8_t>(value * 255 / most);
}

void read_row(const Header& header, const Palette& palette, std::string_view row, std::uint8_t* rgb) {
  const std::uint32_t bits = header.bits;
  for (std::int64_t x = 0; x < header.width; ++x, rgb += 3) {
    const auto at = static_cast<std::size_t>(x);
    if (bits <= 8) {
      const auto byte = static_cast<unsigned char>(row[at * bits / 8]);
      std::memcpy(rgb, palette[(byte >> (8 - bits - at * bits % 8)) & ((1U << bits) - 1)].data(), 3);
    } else if (bits == 24) {
      for (std::size_t c = 0; c < 3; ++c) rgb[c] = static_cast<std::uint8_t>(row[3 * at + 2 - c]);
    } else {
      const std::uint32_t pixel = number(row, at * bits / 8, bits / 8);
      for (std::size_t c = 0; c < 3; ++c) rgb[c] = channel(pixel, header.masks[c]);
    }
  }
}

std::string bmp_info(std::string_view bytes, ImageInfo& info) {
  Header header;
  const std::string fault = read_header(bytes, header);
  if (fault.empty()) info = {header.width, header.height, "bmp"};
  return fault;
}

std::string decode_bmp(std::string_view bytes, const DecodeRequest& request, Image& out) {
  Header header;
  if (std::string fault = read_header(bytes, header); !fault.empty()) return fault;
  const CropBox box = region_of(request, header.width, header.height);
  if (box.width == 0) return "unsupported";
  const Palette palette = palette_of(header);
  auto stride = static_cast<std::size_t>((header.width * header.bits + 31) / 32 * 4);
  std::vector<std::uint8_t> indices;
  if (header.compression == kRle4 || header.compression == kRle8) {
    if (std::string large = memory_fault(header.width * header.height * 4); !large.empty()) return large;
    indices.resize(static_cast<std::size_t>(header.width * header.height));
    if (std::string fault = expand_rle(header, indices); !fault.empty()) return fault;
    header.pixels = {reinterpret_cast<const char*>(indices.data()), indices.size()};
    header.bits = 8;
    stride = static_cast<std::size_t>(header.width);
  }
  if (header.pixels.size() < stride * static_cast<std::size_t>(header.height - 1) +
                                 static_cast<std::size_t>((header.width * header.bits + 7) / 8))
    return "truncated_image";
  out = {header.width, header.height, {}};
  out.rgb.resize(static_cast<std::size_t>(header.width * header.height * 3));
  for (std::int64_t y = box.y; y < box.y + box.height; ++y) {
    const std::int64_t stored = header.top_down ? y : header.height - 1 - y;
    read_row(header, palette, header.pixels.substr(static_cast<std::size_t>(stored) * stride),
             out.rgb.data() + y * header.width * 3);
  }
  crop_in_place(out, box);
  return "";
}

}  // namespace

const Codec kBmp = {"bmp", [](std::string_view bytes) { return bytes.substr(0, 2) == "BM"; }, bmp_info,
                    decode_bmp, nullptr};

}  // namespace trireme::worker::data
