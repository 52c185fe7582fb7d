// Decoders against Pillow's output (tests/oracles/record_images.py), regions against full decodes, and bytes
// that are out to hurt.
#include "worker/data/images/image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>

#include <jpeglib.h>

#include "common/io/file.h"
#include "jobs/store/tar_scan.h"
#include "tests/support/pixel_distance.h"
#include "worker/data/images/resize.h"

namespace trireme::worker::data {
namespace {

const std::map<std::string, std::string>& golden() {
  static const auto members = [] {
    const std::string tar =
        io::read_file(io::Path(TRIREME_SOURCE_DIR) / "tests/golden/worker_data_images.tar");
    std::map<std::string, std::string> out;
    store::scan_tar(tar, [&](const store::TarMember& m) { out[m.name] = tar.substr(m.offset, m.size); });
    return out;
  }();
  return members;
}

std::string bytes_of(const Image& image) {
  return {reinterpret_cast<const char*>(image.rgb.data()), image.rgb.size()};
}

int greatest_difference(std::string_view a, std::string_view b) {
  return trireme::testing::pixel_distance(a, b).most;
}

std::string cropped(const Image& image, int resize_px, int side, Filter filter = Filter::kBicubic,
                    bool crop_down = false) {
  std::string out(static_cast<std::size_t>(3 * side * side), '\0');
  resized_crop(image, resize_px, side, reinterpret_cast<std::uint8_t*>(out.data()), filter, false, crop_down);
  return out;
}

Image decode(const std::string& bytes, const DecodeRequest& request = {}) {
  Image image;
  EXPECT_EQ(decode_image(bytes, request, image), "");
  return image;
}

// Floats of a (0, 1/255) normalisation are the bytes themselves.
constexpr Normalization kBytes{{0, 0, 0}, {1.0F / 255, 1.0F / 255, 1.0F / 255}};
std::string interleaved(const std::vector<float>& chw) {
  std::string out(chw.size(), '\0');
  const std::size_t plane = chw.size() / 3;
  for (std::size_t i = 0; i < chw.size(); ++i) {
    out[(i % plane) * 3 + i / plane] = static_cast<char>(static_cast<unsigned char>(std::lround(chw[i])));
  }
  return out;
}

TEST(DecodeImage, EqualsPillowBitForBit) {
  int pictures = 0;
  for (const auto& [name, bytes] : golden()) {
    const auto dot = name.rfind('.');
    const auto expected = golden().find(name.substr(0, dot) + ".rgb");
    if (name.substr(dot) == ".rgb" || expected == golden().end()) continue;
    ++pictures;
    ImageInfo info;
    ASSERT_EQ(image_info(bytes, info), "") << name;
    const Image image = decode(bytes);
    EXPECT_EQ(info.width, image.width);
    EXPECT_EQ(info.height, image.height);
    ASSERT_EQ(image.rgb.size(), expected->second.size()) << name;
    EXPECT_EQ(greatest_difference(bytes_of(image), expected->second), 0) << name;
  }
  EXPECT_GE(pictures, 22);
}

TEST(DecodeImage, RegionsEqualTheFullPicture) {
  RandomStream random(1, RandomPurpose::kTest);
  for (const auto& [name, bytes] : golden()) {
    if (name.find(".rgb") != std::string::npos || name == "animated.webp") continue;
    const Image full = decode(bytes);
    for (int round = 0; round < 40; ++round) {
      DecodeRequest request;
      request.width = 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(full.width)));
      request.height = 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(full.height)));
      request.x =
          static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(full.width - request.width + 1)));
      request.y = static_cast<std::int64_t>(
          random.below(static_cast<std::uint64_t>(full.height - request.height + 1)));
      const Image part = decode(bytes, request);
      ASSERT_EQ(part.width, request.width);
      ASSERT_EQ(part.height, request.height);
      for (std::int64_t y = 0; y < part.height; ++y) {
        const auto* expected = full.rgb.data() + ((request.y + y) * full.width + request.x) * 3;
        ASSERT_TRUE(std::equal(expected, expected + part.width * 3, part.rgb.data() + y * part.width * 3))
            << name << " " << request.x << "," << request.y << " " << request.width << "x" << request.height
            << " row " << y;
      }
    }
  }
}

TEST(DecodeImage, ScaledDecodeKeepsTheSidesAndTheLook) {
  const std::string& photo = golden().at("photo.jpg");  // 100 x 75
  const Image half = decode(photo, {10, 5, 80, 60, 30});
  EXPECT_EQ(half.width, 40);
  EXPECT_EQ(half.height, 30);
  EXPECT_EQ(decode(photo, {10, 5, 80, 60, 31}).width, 80);
  EXPECT_EQ(decode(photo, {0, 0, 0, 0, 18}).width, 25);
  const Image full = resize_image(decode(photo, {10, 5, 80, 60}), 40, 30, Filter::kBicubic);
  double sum = 0;
  for (std::size_t i = 0; i < full.rgb.size(); ++i) sum += std::abs(full.rgb[i] - half.rgb[i]);
  EXPECT_LT(sum / static_cast<double>(full.rgb.size()), 6);
}

TEST(Resize, IsWithinOneLevelOfPillow) {
  const Image photo = decode(golden().at("photo.jpg"));
  int compared = 0, most = 0;
  for (const auto& [name, expected] : golden()) {
    long long a = 0, b = 0, c = 0, d = 0, side = 0;
    if (std::sscanf(name.c_str(), "resize-%lldx%lld.rgb", &a, &b) == 2) {
      const Image got = resize_image(photo, a, b, Filter::kBicubic);
      most = std::max(most, greatest_difference(bytes_of(got), expected));
      EXPECT_EQ(bytes_of(resize_image(photo, a, b, Filter::kPillowBicubic)), expected) << name;
      ++compared;
    } else if (std::sscanf(name.c_str(), "crop-%lld-%lld-%lld-%lld-%lld.rgb", &a, &b, &c, &d, &side) == 5) {
      std::vector<float> got(static_cast<std::size_t>(3 * side * side));
      resize_to(decode(golden().at("photo.jpg"), {a, b, c, d}), side, false, kBytes, got.data());
      most = std::max(most, greatest_difference(interleaved(got), expected));
      ++compared;
    }
  }
  EXPECT_EQ(compared, 7);
  EXPECT_LE(most, 1);
}

// A strip of 9 : 1, rests of 7 and 17 pixels, of which the half is rounded otherwise, and of -7 and -13.
TEST(Resize, EvaluationTransformIsTorchvisionsOrTransformers) {
  int compared = 0;
  for (const auto& [member, expected] : golden()) {
    int resize = 0, side = 0;
    char how[7] = "", name[6] = "";
    if (std::sscanf(member.c_str(), "%6[a-z]-%d-%d-%5[a-z].rgb", how, &resize, &side, name) != 4) continue;
    // torchvision resizes open_clip's pictures by Pillow, and transformers' as tensors of bytes.
    const bool down = std::string(how) == "down";
    const std::string got = cropped(decode(golden().at(std::string(name) + ".jpg")), resize, side,
                                    down ? Filter::kBicubic : Filter::kPillowBicubic, down);
    EXPECT_EQ(greatest_difference(got, expected), 0) << member;
    ++compared;
  }
  EXPECT_EQ(compared, 15);
}

TEST(Resize, NormalisesAsClipDoes) {
  const Normalization clip{{0.48145466F, 0.4578275F, 0.40821073F}, {0.26862954F, 0.26130258F, 0.27577711F}};
  std::vector<float> out(3 * 4 * 4);
  resize_to({4, 4, std::vector<std::uint8_t>(48, 0)}, 4, false, clip, out.data());
  EXPECT_NEAR(out[0], -1.79226253, 1e-6);
  EXPECT_NEAR(out[16], -1.75209713, 1e-6);
  EXPECT_NEAR(out[32], -1.48021977, 1e-6);
  resize_to({4, 4, std::vector<std::uint8_t>(48, 255)}, 4, false, clip, out.data());
  EXPECT_NEAR(out[0], 1.93033625, 1e-6);
  EXPECT_NEAR(out[16], 2.07488384, 1e-6);
  EXPECT_NEAR(out[32], 2.14589699, 1e-6);
}

TEST(Resize, MirrorsAndSurvivesExtremes) {
  const Image photo = decode(golden().at("photo.jpg"));
  std::vector<float> plain(3 * 24 * 24), mirrored(3 * 24 * 24);
  resize_to(photo, 24, false, kBytes, plain.data());
  resize_to(photo, 24, true, kBytes, mirrored.data());
  for (std::size_t line = 0; line < 72; ++line) {
    std::reverse(plain.begin() + static_cast<std::ptrdiff_t>(line * 24),
                 plain.begin() + static_cast<std::ptrdiff_t>(line * 24 + 24));
  }
  EXPECT_EQ(plain, mirrored);
  const Image strip{16384, 1, std::vector<std::uint8_t>(16384 * 3, 200)};
  EXPECT_NEAR(static_cast<unsigned char>(cropped(strip, 24, 24)[900]), 200, 1);
  const Image pillar{1, 16384, std::vector<std::uint8_t>(16384 * 3, 10)};
  EXPECT_NEAR(static_cast<unsigned char>(cropped(pillar, 24, 24)[900]), 10, 1);
  const std::string small = cropped(photo, 12, 24);  // a crop larger than the picture: black around
  EXPECT_EQ(small[0], 0);
  EXPECT_NE(small[3 * (24 * 12 + 12)], 0);
}

TEST(RandomCrop, StaysInsideAndWithinItsShares) {
  RandomStream random(3, RandomPurpose::kTest);
  double area = 0;
  for (int i = 0; i < 2000; ++i) {
    const CropBox box = random_crop(300, 300, 0.5, 1.0, 0.75, 4.0 / 3, random);
    ASSERT_GE(box.x, 0);
    ASSERT_GE(box.y, 0);
    ASSERT_LE(box.x + box.width, 300);
    ASSERT_LE(box.y + box.height, 300);
    const double share = static_cast<double>(box.width * box.height) / 90000;
    ASSERT_GT(share, 0.49);
    area += share;
  }
  EXPECT_NEAR(area / 2000, 0.6927, 0.01);  // torchvision, 20,000 draws
  const CropBox tall = random_crop(10, 1000, 0.9, 1, 0.75, 4.0 / 3, random);
  EXPECT_EQ(tall.width, 10);
  EXPECT_EQ(tall.height, 13);
  EXPECT_EQ(tall.y, 493);
  const CropBox wide = random_crop(1000, 10, 0.9, 1, 0.75, 4.0 / 3, random);
  EXPECT_EQ(wide.width, 13);
  const CropBox dot = random_crop(1, 1, 0.9, 1, 0.75, 4.0 / 3, random);
  EXPECT_EQ(dot.width * dot.height, 1);
}

TEST(EncodeJpeg, ComesBackAndThumbnailsFit) {
  const Image photo = decode(golden().at("photo.jpg"));
  const Image again = decode(encode_jpeg(photo, 95));
  ASSERT_EQ(again.rgb.size(), photo.rgb.size());
  double sum = 0;
  for (std::size_t i = 0; i < again.rgb.size(); ++i) sum += std::abs(again.rgb[i] - photo.rgb[i]);
  EXPECT_LT(sum / static_cast<double>(again.rgb.size()), 8);
  const Image thumbnail = decode(jpeg_thumbnail(photo, 40));
  EXPECT_EQ(thumbnail.width, 40);
  EXPECT_EQ(thumbnail.height, 30);
  EXPECT_EQ(decode(jpeg_thumbnail(photo, 400)).width, 100);
}

// ---- what must be refused

std::string fault_of(const std::string& bytes) {
  Image image;
  return decode_image(bytes, {}, image);
}

// The offset of the frame header's precision byte.
std::size_t frame(const std::string& jpeg) {
  for (std::size_t at = 2; at + 4 < jpeg.size();) {
    const auto marker = static_cast<unsigned char>(jpeg[at + 1]);
    if (marker == 0xC0 || marker == 0xC2) return at + 4;
    at += 2 + static_cast<std::size_t>(static_cast<unsigned char>(jpeg[at + 2]) * 256 +
                                       static_cast<unsigned char>(jpeg[at + 3]));
  }
  return 0;
}

void set_size(std::string& jpeg, int width, int height) {
  const std::size_t at = frame(jpeg);
  jpeg[at + 1] = static_cast<char>(height >> 8);
  jpeg[at + 2] = static_cast<char>(height & 255);
  jpeg[at + 3] = static_cast<char>(width >> 8);
  jpeg[at + 4] = static_cast<char>(width & 255);
}

// A progressive picture with a scan per frequency and component: 190 of them.
std::string many_scans() {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = info.image_height = 16;
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  std::vector<jpeg_scan_info> scans{{3, {0, 1, 2}, 0, 0, 0, 0}};
  for (int component = 0; component < 3; ++component) {
    for (int k = 1; k < 64; ++k) scans.push_back({1, {component}, k, k, 0, 0});
  }
  info.scan_info = scans.data();
  info.num_scans = static_cast<int>(scans.size());
  jpeg_start_compress(&info, TRUE);
  std::vector<std::uint8_t> row(48, 77);
  for (JSAMPROW line = row.data(); info.next_scanline < 16;) jpeg_write_scanlines(&info, &line, 1);
  jpeg_finish_compress(&info);
  std::string out(reinterpret_cast<char*>(bytes), size);
  jpeg_destroy_compress(&info);
  std::free(bytes);
  return out;
}

TEST(BadImages, HaveTheirReasons) {
  const std::string jpeg = golden().at("photo.jpg"), png = golden().at("rgb8.png"),
                    webp = golden().at("lossless.webp");
  EXPECT_EQ(fault_of(""), "empty_image");
  EXPECT_EQ(fault_of("P6 29 23 255 and more"), "unknown_format");
  EXPECT_EQ(fault_of(jpeg.substr(0, 3)), "truncated_image");
  EXPECT_EQ(fault_of(jpeg.substr(0, jpeg.size() / 2)), "truncated_image");
  EXPECT_EQ(fault_of(golden().at("progressive420.jpg").substr(0, 700)), "truncated_image");
  EXPECT_EQ(fault_of(png.substr(0, png.size() / 2)), "truncated_image");
  EXPECT_EQ(fault_of(webp.substr(0, webp.size() / 2)), "truncated_image");
  EXPECT_EQ(fault_of(golden().at("animated.webp")), "animated");
  EXPECT_EQ(fault_of(many_scans()), "too_many_scans");
  std::string bad = jpeg;
  set_size(bad, 65000, 1);
  EXPECT_EQ(fault_of(bad), "too_large");
  set_size(bad, 16000, 16000);
  EXPECT_EQ(fault_of(bad), "too_large");
  set_size(bad, 0, 10);
  EXPECT_EQ(fault_of(bad), "bad_header");
  bad = jpeg;
  bad[frame(bad)] = 12;
  EXPECT_EQ(fault_of(bad), "unsupported");
  bad = jpeg;
  bad[frame(bad) - 3] = static_cast<char>(0xC3);  // lossless
  EXPECT_EQ(fault_of(bad), "unsupported");
  bad = png;
  bad[16] = 1;  // 16 million pixels wide, and the checksum no longer holds
  EXPECT_NE(fault_of(bad), "");
  EXPECT_EQ(fault_of("\x89PNG\r\n\x1A\n"), "truncated_image");
  EXPECT_EQ(fault_of("\xFF\xD8\xFF\xD9"), "bad_header");
  bad = jpeg;
  for (std::size_t i = bad.size() / 2; i < bad.size() / 2 + 64; i += 2) bad.replace(i, 2, "\xFF\0", 2);
  EXPECT_EQ(fault_of(bad), "bad_decode");  // no Huffman code is all ones
  bad = jpeg;
  bad.replace(bad.size() / 2, 2, "\xFF\xD9");  // the end, too early
  EXPECT_EQ(fault_of(bad), "bad_decode");
  Image image;
  EXPECT_EQ(decode_image(jpeg, {200, 0, 10, 10}, image), "unsupported");  // a region outside
}

TEST(BadImages, AMemoryBombIsRefusedOrCheap) {
  std::string bomb = golden().at("progressive444.jpg");
  set_size(bomb, 16000, 4000);  // 64 Mpx of coefficients would take 384 MB
  const std::string fault = fault_of(bomb);
  EXPECT_TRUE(fault == "too_large" || fault == "truncated_image" || fault == "bad_decode") << fault;
}

TEST(BadImages, MutatedBytesNeverCrash) {
  RandomStream random(11, RandomPurpose::kTest);
  std::map<std::string, int> outcomes;
  for (const auto& [name, bytes] : golden()) {
    if (name.find(".rgb") != std::string::npos) continue;
    for (int round = 0; round < 150; ++round) {
      std::string bad = bytes;
      const std::uint64_t edits = 1 + random.below(6);
      for (std::uint64_t i = 0; i < edits; ++i) {
        const std::uint64_t at = random.below(bad.size());
        if (random.below(4) == 0) {
          bad.resize(std::max<std::size_t>(1, at));
        } else {
          bad[at] = static_cast<char>(random.below(256));
        }
      }
      // Large sizes are legal and slow; the limits have their own tests.
      ImageInfo info;
      if (image_info(bad, info).empty() && info.width * info.height > 1'000'000) continue;
      Image image;
      ++outcomes[decode_image(bad, {0, 0, 0, 0, static_cast<std::int64_t>(random.below(20))}, image)];
    }
  }
  EXPECT_GT(outcomes["truncated_image"], 0);
  EXPECT_GT(outcomes["bad_header"] + outcomes["bad_decode"], 0);
}

}  // namespace
}  // namespace trireme::worker::data
