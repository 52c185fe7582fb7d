// The other formats, turned pictures and colour profiles against Pillow's output
// (tests/oracles/record_more_images.py), and pictures that are out to cost much.
#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>

#include "common/io/file.h"
#include "jobs/store/tar_scan.h"
#include "tests/support/pixel_distance.h"
#include "worker/data/images/image.h"

namespace trireme::worker::data {
namespace {

const std::map<std::string, std::string>& golden() {
  static const auto members = [] {
    const std::string tar =
        io::read_file(io::Path(TRIREME_SOURCE_DIR) / "tests/golden/worker_data_more_images.tar");
    std::map<std::string, std::string> out;
    store::scan_tar(tar, [&](const store::TarMember& m) { out[m.name] = tar.substr(m.offset, m.size); });
    return out;
  }();
  return members;
}

// Every picture whose member `<name>.<kind>` says what it becomes.
template <class Visit>
int for_each(const std::string& kind, const Visit& visit) {
  int pictures = 0;
  for (const auto& [name, bytes] : golden()) {
    const auto dot = name.rfind('.');
    const std::string suffix = name.substr(dot);
    const auto expected = golden().find(name.substr(0, dot) + "." + kind);
    if (suffix == ".rgb" || suffix == ".turned" || suffix == ".srgb" || expected == golden().end()) continue;
    ++pictures;
    visit(name, bytes, expected->second);
  }
  return pictures;
}

// At most 1 level apart where nothing is lost and for JPEG, else 3 with a mean of 2.
void expect_close(const Image& image, const std::string& expected, const std::string& name) {
  ASSERT_EQ(image.rgb.size(), expected.size()) << name;
  const bool lossy = name.ends_with(".avif") || name.ends_with(".heic");
  const auto apart = trireme::testing::pixel_distance(
      {reinterpret_cast<const char*>(image.rgb.data()), image.rgb.size()}, expected);
  EXPECT_LE(apart.most, lossy ? 3 : 1) << name;
  EXPECT_LE(apart.mean, 2) << name;
}

Image decode(const std::string& bytes, const PictureOptions& options, const std::string& name) {
  Image image;
  DecodeRequest request;
  request.options = options;
  EXPECT_EQ(decode_image(bytes, request, image), "") << name;
  ImageInfo info;
  EXPECT_EQ(image_info(bytes, info, options), "") << name;
  EXPECT_EQ(info.width, image.width) << name;
  EXPECT_EQ(info.height, image.height) << name;
  return image;
}

TEST(Formats, EqualPillow) {
  EXPECT_GE(
      for_each("rgb", [](const auto& name, const auto& bytes,
                         const auto& expected) { expect_close(decode(bytes, {}, name), expected, name); }),
      90);
}

TEST(Formats, AreNamed) {
  for (const auto& [name, format] : std::map<std::string, std::string>{{"gif.gif", "gif"},
                                                                       {"bmp-RGB.bmp", "bmp"},
                                                                       {"tiff-fax.tiff", "tiff"},
                                                                       {"avif-2.avif", "avif"},
                                                                       {"heic-2.heic", "heic"}}) {
    ImageInfo info;
    EXPECT_EQ(image_info(golden().at(name), info), "");
    EXPECT_EQ(info.format, format);
  }
}

TEST(Formats, TurnedAsExifTranspose) {
  int different = 0;
  EXPECT_EQ(for_each("turned",
                     [&](const auto& name, const auto& bytes, const auto& expected) {
                       expect_close(decode(bytes, {.exif_orientation = true}, name), expected, name);
                       different +=
                           decode(bytes, {}, name).rgb != decode(bytes, {.exif_orientation = true}, name).rgb;
                     }),
            53);
  // JPEG, PNG, WebP, AVIF; the others are turned in any case. XMP's word counts where EXIF has none.
  EXPECT_EQ(different, 7 * 4 + 4);
}

TEST(Formats, RegionsAreOfTheTurnedPicture) {
  const PictureOptions turned{.exif_orientation = true};
  for_each("turned", [&](const auto& name, const auto& bytes, const auto&) {
    const Image full = decode(bytes, turned, name);
    const DecodeRequest request{
        .x = 3, .y = 5, .width = full.width - 7, .height = full.height - 6, .options = turned};
    Image part;
    ASSERT_EQ(decode_image(bytes, request, part), "") << name;
    ASSERT_EQ(part.width, request.width) << name;
    ASSERT_EQ(part.height, request.height) << name;
    for (std::int64_t y = 0; y < part.height; ++y)
      ASSERT_TRUE(std::equal(part.rgb.begin() + y * part.width * 3,
                             part.rgb.begin() + (y + 1) * part.width * 3,
                             full.rgb.begin() + ((y + 5) * full.width + 3) * 3))
          << name << " row " << y;
  });
}

TEST(Formats, ColoursByTheirProfile) {
  EXPECT_EQ(for_each("srgb",
                     [](const auto& name, const auto& bytes, const auto& expected) {
                       const Image converted = decode(bytes, {.icc_to_srgb = true}, name);
                       expect_close(converted, expected, name);
                       EXPECT_NE(converted.rgb, decode(bytes, {}, name).rgb) << name;
                     }),
            7);
}

TEST(Formats, BrokenOnesHaveTheirReasons) {
  const auto fault = [](const std::string& bytes) {
    Image image;
    return decode_image(bytes, {}, image);
  };
  const std::map<std::string, std::string> reasons = {
      {"gif.gif", "truncated_image"},   {"bmp-RGB.bmp", "truncated_image"},
      {"bmp-P.bmp", "truncated_image"}, {"tiff-RGB-None.tiff", "truncated_image"},
      {"avif-2.avif", "bad_header"},    {"heic-2.heic", "truncated_image"}};
  for (const auto& [name, reason] : reasons) {
    const std::string& bytes = golden().at(name);
    EXPECT_EQ(fault(bytes.substr(0, bytes.size() / 2)), reason) << name;
    EXPECT_NE(fault(bytes.substr(0, 20)), "") << name;
  }
  std::string profile = golden().at("colours-JPEG.jpg");
  const auto piece = profile.find("ICC_PROFILE") + 12;
  std::string lacking = profile;
  lacking[piece + 1] = 2;  // of two pieces the second is absent
  profile.replace(profile.find("acsp"), 4, "????");
  Image image;
  DecodeRequest request;
  request.options.icc_to_srgb = true;
  EXPECT_EQ(decode_image(profile, request, image), "bad_profile");
  EXPECT_EQ(decode_image(profile, {}, image), "");
  EXPECT_EQ(decode(lacking, {.icc_to_srgb = true}, "lacking").rgb, decode(lacking, {}, "lacking").rgb);
  const std::string &grey = golden().at("colours-grey.jpg"), &coloured = golden().at("xmp-JPEG.jpg");
  const auto begin = grey.find("ICC_PROFILE") - 4;
  const std::size_t size = 2 + static_cast<unsigned char>(grey[begin + 2]) * std::size_t{256} +
                           static_cast<unsigned char>(grey[begin + 3]);
  EXPECT_EQ(
      decode_image(coloured.substr(0, 2) + grey.substr(begin, size) + coloured.substr(2), request, image),
      "bad_profile")
      << "a profile of grey pictures";
}

// ---- cost

double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// The most resident memory since reset(), in MiB.
long most_resident_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM")) return std::stol(line.substr(6)) / 1024;
  return 0;
}
void reset_most_resident() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

#ifdef __SANITIZE_ADDRESS__
constexpr double kSeconds = 30;
constexpr long kMiB = 1024;
#else
constexpr double kSeconds = 2.5;
constexpr long kMiB = 260;
#endif

// What it ends in.
std::string expect_cheap(const std::string& bytes, const std::string& name) {
  reset_most_resident();
  const long before = most_resident_mib();
  const double start = cpu_seconds();
  std::string fault;
  {
    Image image;
    fault = decode_image(bytes, {}, image);
  }
  EXPECT_LE(cpu_seconds() - start, kSeconds) << name;
  EXPECT_LE(most_resident_mib() - before, kMiB) << name;
  return fault;
}

std::string little(std::uint64_t value, int size) {
  std::string out;
  for (int i = 0; i < size; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

// A TIFF of one page with the given tags (all LONG).
std::string tiff(const std::map<int, std::uint32_t>& tags) {
  std::string out = "II" + little(42, 2) + little(8, 4) + little(tags.size(), 2);
  for (const auto& [tag, value] : tags)
    out += little(static_cast<std::uint64_t>(tag), 2) + little(4, 2) + little(1, 4) + little(value, 4);
  return out + little(0, 4) + std::string(64, '\0');
}

std::string bmp(std::uint32_t width, std::uint32_t height, int bits, std::uint32_t compression,
                const std::string& code) {
  return "BM" + little(0, 8) + little(54, 4) + little(40, 4) + little(width, 4) + little(height, 4) +
         little(1, 2) + little(static_cast<std::uint64_t>(bits), 2) + little(compression, 4) + little(0, 20) +
         code;
}

// Another width and height in every "ispe" box.
std::string claiming(std::string bytes, std::uint32_t side) {
  for (auto at = bytes.find("ispe"); at != std::string::npos; at = bytes.find("ispe", at + 4))
    for (const std::size_t field : {at + 8, at + 12})
      for (std::size_t i = 0; i < 4; ++i) bytes[field + i] = static_cast<char>(side >> (8 * (3 - i)));
  return bytes;
}

TEST(Cost, AnyPictureStaysWithinTwoSecondsAnd256MiB) {
  EXPECT_EQ(expect_cheap(golden().at("large.heic"), "25 Mpx"), "");
  EXPECT_EQ(expect_cheap(golden().at("large.avif"), "25 Mpx"), "");
  // Much of it is the time in which the kernel finds memory: a machine that needs more than two seconds says
  // so.
  const std::string huge = expect_cheap(golden().at("huge.png"), "64 Mpx");
  EXPECT_TRUE(huge.empty() || huge == "too_slow") << huge;
  EXPECT_EQ(expect_cheap(claiming(golden().at("avif-2.avif"), 16000), "a claim of 256 Mpx"), "too_large");
  EXPECT_EQ(expect_cheap(claiming(golden().at("heic-2.heic"), 16000), "a claim of 256 Mpx"), "too_large");
  EXPECT_EQ(expect_cheap("GIF89a" + little(65535, 2) + little(65535, 2) + std::string(3, '\0') + "," +
                             little(0, 4) + little(65535, 2) + little(65535, 2) + std::string("\0\2", 2),
                         "65535 x 65535"),
            "too_large");
  EXPECT_EQ(expect_cheap(bmp(16384, 4096, 8, 1, std::string("\0\1", 2)), "64 Mpx of nothing"), "");
  EXPECT_EQ(expect_cheap(bmp(60000, 60000, 24, 0, ""), "3,600 Mpx"), "too_large");
  // Tiles and strips far larger than their page.
  const std::map<int, std::uint32_t> page = {{256, 8}, {257, 8}, {258, 8}, {259, 1}, {262, 1}, {277, 1}};
  auto tiles = page;
  tiles.insert({{322, 60000}, {323, 60000}, {324, 100}, {325, 64}});
  EXPECT_EQ(expect_cheap(tiff(tiles), "tiles"), "too_large");
  auto wide = page;
  wide[277] = 60000;
  wide.insert({{273, 100}, {278, 8}, {279, 64}});
  EXPECT_NE(expect_cheap(tiff(wide), "samples"), "");
}

std::string boxed_with(const std::string& picture, std::size_t size) {
  return picture + std::string(size, '\0');
}

TEST(Cost, WhatCannotBeInterruptedIsJudgedBeforehand) {
  for (const char* name : {"avif-2.avif", "heic-2.heic"}) {
    EXPECT_EQ(expect_cheap(boxed_with(golden().at(name), 30 << 20), name), "too_slow");
  }
}

}  // namespace
}  // namespace trireme::worker::data
