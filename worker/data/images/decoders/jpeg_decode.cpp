// JPEG by libjpeg-turbo: accurate integer DCT and fancy upsampling, as Pillow has them. A region is decoded
// with one block of margin on either side, so that upsampling sees the same neighbours as in a full decode.
#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include <jpeglib.h>
// jerror.h needs jpeglib.h first.
#include <jerror.h>

#include "worker/data/images/codec.h"
#include "worker/data/images/orientation.h"

namespace trireme::worker::data {
namespace {

// libjpeg reports through callbacks; they leave by longjmp, so nothing with a destructor may live between
// setjmp and a library call.
struct Reader {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  std::jmp_buf leave{};
  const char* fault = "bad_header";  // the reason when the library gives up
  CpuDeadline deadline;
  bool created = false;

  ~Reader() {
    if (created) jpeg_destroy_decompress(&info);
  }
};

Reader& reader_of(j_common_ptr info) {
  return *static_cast<Reader*>(info->client_data);
}

[[noreturn]] void leave(j_common_ptr info, const char* fault) {
  Reader& reader = reader_of(info);
  reader.fault = fault;
  std::longjmp(reader.leave, 1);
}

[[noreturn]] void on_error(j_common_ptr info) {
  switch (info->err->msg_code) {
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_NOTIMPL:
    case JERR_COMPONENT_COUNT:
      leave(info, "unsupported");
    case JERR_NO_BACKING_STORE:
    case JERR_OUT_OF_MEMORY:
    case JERR_IMAGE_TOO_BIG:
    case JERR_WIDTH_OVERFLOW:
      leave(info, "too_large");
    default:
      leave(info, reader_of(info).fault);
  }
}

// Level -1 is a warning. Those that mean lost picture data are damage; the others (junk between markers, odd
// APP segments) are common on the web and harmless.
void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_BOGUS_PROGRESSION:
      leave(info, "bad_decode");
    default:
      ++info->err->num_warnings;
  }
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kScanLimit) leave(info, "too_many_scans");
  if (reader_of(info).deadline.passed()) leave(info, "too_slow");
}

boolean on_end_of_bytes(j_decompress_ptr info) {
  leave(reinterpret_cast<j_common_ptr>(info), "truncated_image");
}

void skip_bytes(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  if (static_cast<std::size_t>(count) > info->src->bytes_in_buffer) on_end_of_bytes(info);
  info->src->next_input_byte += count;
  info->src->bytes_in_buffer -= static_cast<std::size_t>(count);
}

// Reads the header and checks it. "" or a reason.
std::string open(Reader& reader, std::string_view bytes) {
  jpeg_decompress_struct& info = reader.info;
  info.err = jpeg_std_error(&reader.errors);
  reader.errors.error_exit = on_error;
  reader.errors.emit_message = on_message;
  reader.errors.output_message = [](j_common_ptr) {};
  info.client_data = &reader;
  if (setjmp(reader.leave) != 0) return reader.fault;
  reader.created = true;
  jpeg_create_decompress(&info);
  info.mem->max_memory_to_use = kDecoderMemoryLimitBytes;
  reader.progress.progress_monitor = on_progress;
  info.progress = &reader.progress;
  reader.source.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
  reader.source.bytes_in_buffer = bytes.size();
  reader.source.init_source = [](j_decompress_ptr) {};
  reader.source.fill_input_buffer = on_end_of_bytes;
  reader.source.skip_input_data = skip_bytes;
  reader.source.resync_to_restart = jpeg_resync_to_restart;
  reader.source.term_source = [](j_decompress_ptr) {};
  info.src = &reader.source;
  jpeg_read_header(&info, TRUE);
  reader.fault = "bad_decode";
  if (info.num_components != 1 && info.num_components != 3 && info.num_components != 4) return "unsupported";
  return size_fault(info.image_width, info.image_height);
}

// Pillow's CMYK (stored inverted, as Adobe does) to RGB.
void cmyk_to_rgb(const std::uint8_t* cmyk, std::int64_t pixels, std::uint8_t* rgb) {
  for (std::int64_t i = 0; i < pixels; ++i) {
    const int rest = cmyk[4 * i + 3];
    for (std::int64_t c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[4 * i + c]) * rest + 128;
      const int value = rest - (((product >> 8) + product) >> 8);
      rgb[3 * i + c] = static_cast<std::uint8_t>(value < 0 ? 0 : value);
    }
  }
}

unsigned least_power_of_scale(const CropBox& box, std::int64_t least_side_px) {
  const std::int64_t side = box.width < box.height ? box.width : box.height;
  if (least_side_px <= 0) return 1;
  return side / 4 >= least_side_px ? 4 : side / 2 >= least_side_px ? 2 : 1;
}

// Region and scale are set; fills `out` row by row. `row` has room for a whole row of the library's output.
std::string read_rows(Reader& reader, const CropBox& box, std::uint8_t* row, std::uint8_t* out) {
  jpeg_decompress_struct& info = reader.info;
  if (setjmp(reader.leave) != 0) return reader.fault;
  const auto margin = static_cast<JDIMENSION>(info.max_h_samp_factor * info.min_DCT_scaled_size);
  const auto left = static_cast<JDIMENSION>(box.x), width = static_cast<JDIMENSION>(box.width);
  JDIMENSION at = left > margin ? left - margin : 0;
  JDIMENSION wide =
      (left + width + margin < info.output_width ? left + width + margin : info.output_width) - at;
  if (at > 0 || wide < info.output_width) jpeg_crop_scanline(&info, &at, &wide);
  if (box.y > 0) jpeg_skip_scanlines(&info, static_cast<JDIMENSION>(box.y));
  const bool cmyk = info.out_color_space == JCS_CMYK;
  const bool straight = !cmyk && info.output_width == width;
  for (std::int64_t y = 0; y < box.height; ++y) {
    std::uint8_t* const line = out + y * box.width * 3;
    JSAMPROW target = straight ? line : row;
    if (jpeg_read_scanlines(&info, &target, 1) != 1) return "bad_decode";
    if (cmyk) {
      cmyk_to_rgb(row + (left - at) * 4, box.width, line);
    } else if (!straight) {
      std::memcpy(line, row + (left - at) * 3, static_cast<std::size_t>(box.width * 3));
    }
  }
  return "";
}

std::string start(Reader& reader, unsigned denominator) {
  jpeg_decompress_struct& info = reader.info;
  if (setjmp(reader.leave) != 0) return reader.fault;
  info.out_color_space = info.num_components == 4 ? JCS_CMYK : JCS_RGB;
  info.dct_method = JDCT_ISLOW;
  info.scale_num = 1;
  info.scale_denom = denominator;
  jpeg_start_decompress(&info);
  return "";
}

// The segments before the first scan.
template <class Visit>
void for_each_segment(std::string_view bytes, const Visit& visit) {
  for (std::size_t at = 2; at + 4 <= bytes.size() && bytes[at] == '\xFF';) {
    const auto marker = static_cast<unsigned char>(bytes[at + 1]);
    if (marker == 0xFF) {
      ++at;  // padding
      continue;
    }
    if (marker == 0xDA || marker == 0xD9) return;
    const std::size_t size = static_cast<unsigned char>(bytes[at + 2]) * std::size_t{256} +
                             static_cast<unsigned char>(bytes[at + 3]);
    if (size < 2 || at + 2 + size > bytes.size()) return;
    visit(marker, bytes.substr(at + 4, size - 2));
    at += 2 + size;
  }
}

void jpeg_metadata(std::string_view bytes, Metadata& found) {
  using namespace std::string_view_literals;
  constexpr std::string_view kExif = "Exif\0\0"sv, kIcc = "ICC_PROFILE\0"sv,
                             kXmp = "http://ns.adobe.com/xap/1.0/\0"sv;
  std::vector<std::string_view> pieces;  // their number, how many there are, and what they hold
  int exif = -1, xmp = 0;
  for_each_segment(bytes, [&](unsigned char marker, std::string_view body) {
    if (marker == 0xE1 && body.starts_with(kExif) && exif < 0) exif = exif_orientation(body);
    if (marker == 0xE1 && body.starts_with(kXmp)) xmp = xmp_orientation(body);
    if (marker == 0xE2 && body.starts_with(kIcc) && body.size() > kIcc.size() + 2)
      pieces.push_back(body.substr(kIcc.size()));
  });
  found.orientation = exif > 0 ? exif : xmp;
  std::ranges::sort(pieces);
  // A profile that lacks a piece is none, as in Pillow.
  if (pieces.empty() || static_cast<unsigned char>(pieces[0][1]) != pieces.size()) return;
  for (const std::string_view piece : pieces) found.icc += piece.substr(2);
}

std::string jpeg_info(std::string_view bytes, ImageInfo& info) {
  Reader reader;
  const std::string fault = open(reader, bytes);
  if (!fault.empty()) return fault;
  info = {reader.info.image_width, reader.info.image_height, "jpeg"};
  return "";
}

std::string decode_jpeg(std::string_view bytes, const DecodeRequest& request, Image& out) {
  Reader reader;
  std::string fault = open(reader, bytes);
  if (!fault.empty()) return fault;
  CropBox box = region_of(request, reader.info.image_width, reader.info.image_height);
  if (box.width == 0) return "unsupported";
  const unsigned scale = least_power_of_scale(box, request.least_side_px);
  const std::int64_t finished = (box.width / scale + 1) * (box.height / scale + 1) * 3;
  reader.info.mem->max_memory_to_use = kDecoderMemoryLimitBytes - static_cast<long>(finished);
  fault = start(reader, scale);
  if (!fault.empty()) return fault;
  if (scale > 1) {  // nearest pixel borders of the smaller picture
    const auto shrink = [&](std::int64_t px) { return (px + scale / 2) / scale; };
    const std::int64_t right = std::min<std::int64_t>(shrink(box.x + box.width), reader.info.output_width);
    const std::int64_t bottom = std::min<std::int64_t>(shrink(box.y + box.height), reader.info.output_height);
    box = {shrink(box.x), shrink(box.y), right - shrink(box.x), bottom - shrink(box.y)};
  }
  out.width = box.width;
  out.height = box.height;
  out.rgb.resize(static_cast<std::size_t>(box.width * box.height * 3));
  std::vector<std::uint8_t> row(static_cast<std::size_t>(reader.info.output_width) * 4);
  return read_rows(reader, box, row.data(), out.rgb.data());
}

}  // namespace

const Codec kJpeg = {"jpeg", [](std::string_view bytes) { return bytes.substr(0, 3) == "\xFF\xD8\xFF"; },
                     jpeg_info, decode_jpeg, jpeg_metadata};

}  // namespace trireme::worker::data
