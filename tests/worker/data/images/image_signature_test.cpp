// Signatures of real photographs (flickr8k-500) against re-encoding, resizing and cropping, and of every two
// of them against one another; recall and false matches are printed.
#include "worker/data/images/image_signature.h"

#include <cstdlib>
#include <functional>

#include <gtest/gtest.h>

#include "common/io/file.h"
#include "jobs/store/tar_scan.h"
#include "worker/data/images/resize.h"

namespace trireme::worker::data {
namespace {

constexpr int kDistance = 10;  // the default of max_hash_distance

Image plain(std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  Image image{90, 70, {}};
  for (int i = 0; i < 90 * 70; ++i) image.rgb.insert(image.rgb.end(), {red, green, blue});
  return image;
}

Image cropped(const Image& image, double share) {
  const auto x = static_cast<std::int64_t>(share * static_cast<double>(image.width)),
             y = static_cast<std::int64_t>(share * static_cast<double>(image.height));
  Image out{image.width - 2 * x, image.height - 2 * y, {}};
  for (std::int64_t row = y; row < image.height - y; ++row) {
    const auto begin = image.rgb.begin() + 3 * (row * image.width + x);
    out.rgb.insert(out.rgb.end(), begin, begin + 3 * out.width);
  }
  return out;
}

Image scaled(const Image& image, double by) {
  return resize_image(image, static_cast<std::int64_t>(by * static_cast<double>(image.width)),
                      static_cast<std::int64_t>(by * static_cast<double>(image.height)), Filter::kBicubic);
}

// As the stage sees it: decoded at a small scale.
ImageSignature signature_of(const std::string& bytes) {
  Image image;
  EXPECT_EQ(decode_image(bytes, {.least_side_px = 64}, image), "");
  return image_signature(image);
}

bool match(const ImageSignature& a, const ImageSignature& b) {
  return hash_distance(a.bits, b.bits) <= kDistance &&
         cells_match({a.bits, a.cells.data()}, {b.bits, b.cells.data()});
}

std::vector<std::string> photographs(std::size_t most) {
  const char* shared = std::getenv("TRIREME_SHARED");
  io::Path folder = io::Path(TRIREME_SOURCE_DIR) / "../shared";
  if (shared != nullptr) folder = shared;
  const io::Path path = folder / "data/flickr8k-500/test/0.tar";
  std::vector<std::string> found;
  if (!std::filesystem::exists(path)) return found;
  const std::string tar = io::read_file(path);
  store::scan_tar(tar, [&](const store::TarMember& m) {
    ImageInfo info;
    const std::string bytes = tar.substr(m.offset, m.size);
    if (found.size() < most && image_info(bytes, info).empty()) found.push_back(bytes);
  });
  return found;
}

TEST(ImageSignature, PlainPicturesMatchByColourOnly) {
  const auto grey = image_signature(plain(120, 120, 120));
  EXPECT_EQ(grey.bits, 0u);
  EXPECT_TRUE(match(grey, signature_of(encode_jpeg(plain(120, 120, 120), 60))));
  EXPECT_FALSE(match(grey, image_signature(plain(120, 130, 120))));
  EXPECT_EQ(image_signature(plain(1, 2, 3)).cells[1], 2);
  Image dot{1, 1, {9, 8, 7}};
  EXPECT_EQ(image_signature(dot).cells[2], 7);
}

TEST(ImageSignature, SameShapeInOtherColoursDoesNotMatch) {
  Image red = plain(200, 40, 40), green = red;
  for (std::size_t y = 20; y < 50; ++y)
    for (std::size_t x = 30; x < 60; ++x)
      for (std::size_t c = 0; c < 3; ++c) {
        red.rgb[3 * (y * 90 + x) + c] = c == 0 ? 90 : 220;
        green.rgb[3 * (y * 90 + x) + c] = c == 1 ? 190 : 120;
      }
  EXPECT_FALSE(match(image_signature(red), image_signature(green)));
  EXPECT_TRUE(match(image_signature(red), signature_of(encode_jpeg(red, 50))));
}

TEST(ImageSignature, PhotographsSurviveSmallChanges) {
  const auto photos = photographs(100);
  if (photos.empty()) GTEST_SKIP() << "flickr8k-500 is absent: set TRIREME_SHARED";
  struct Change {
    const char* name;
    double least;  // recall
    std::function<std::string(const Image&)> make;
  };
  const std::vector<Change> changes = {
      {"JPEG quality 30", 1, [](const Image& i) { return encode_jpeg(i, 30); }},
      {"50 % of the size", 0.99, [](const Image& i) { return encode_jpeg(scaled(i, 0.5), 80); }},
      {"150 % of the size", 0.99, [](const Image& i) { return encode_jpeg(scaled(i, 1.5), 80); }},
      {"crop 1 % on every side", 0.99, [](const Image& i) { return encode_jpeg(cropped(i, 0.01), 75); }},
      {"crop 2 % on every side", 0.97, [](const Image& i) { return encode_jpeg(cropped(i, 0.02), 75); }},
      {"crop 3 % on every side", 0.85, [](const Image& i) { return encode_jpeg(cropped(i, 0.03), 75); }},
      {"crop 5 % on every side", 0, [](const Image& i) { return encode_jpeg(cropped(i, 0.05), 75); }}};
  for (const auto& change : changes) {
    double found = 0, bits = 0;
    for (const auto& bytes : photos) {
      Image photo;
      ASSERT_EQ(decode_image(bytes, {}, photo), "");
      const auto before = signature_of(bytes), after = signature_of(change.make(photo));
      found += match(before, after) ? 1 : 0;
      bits += hash_distance(before.bits, after.bits);
    }
    const auto n = static_cast<double>(photos.size());
    std::printf("%-24s recall %.3f, %.2f bits of distance\n", change.name, found / n, bits / n);
    EXPECT_GE(found / n, change.least) << change.name;
  }
}

TEST(ImageSignature, DifferentPhotographsDoNotMatch) {
  const auto photos = photographs(500);
  if (photos.empty()) GTEST_SKIP() << "flickr8k-500 is absent: set TRIREME_SHARED";
  std::vector<ImageSignature> signatures;
  for (const auto& bytes : photos) signatures.push_back(signature_of(bytes));
  int matches = 0, nearest = 64;
  for (std::size_t i = 0; i < photos.size(); ++i)
    for (std::size_t j = i + 1; j < photos.size(); ++j) {
      matches += match(signatures[i], signatures[j]) ? 1 : 0;
      nearest = std::min(nearest, hash_distance(signatures[i].bits, signatures[j].bits));
    }
  std::printf("%d false matches among %zu pairs; the nearest two hashes differ in %d bits\n", matches,
              photos.size() * (photos.size() - 1) / 2, nearest);
  EXPECT_EQ(matches, 0);
}

}  // namespace
}  // namespace trireme::worker::data
