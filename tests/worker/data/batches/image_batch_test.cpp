#include "worker/data/batches/image_batch.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "jobs/store/tar_scan.h"
#include "tests/support/tar_writer.h"
#include "worker/data/batches/picture_filter.h"

namespace trireme::worker::data {
namespace {

class ImageBatchTest : public ::testing::Test {
 protected:
  io::Path folder_ =
      std::filesystem::temp_directory_path() / ("trireme-image-batch-" + std::to_string(::getpid()));
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static Image plain(std::uint8_t red, std::uint8_t green) {
    Image image{40, 20, {}};
    for (int p = 0; p < 40 * 20; ++p) image.rgb.insert(image.rgb.end(), {red, green, 10});
    return image;
  }

  // Of one colour each, the third damaged.
  ShardReader shard() {
    testing::TarWriter tar;
    for (int i = 0; i < 5; ++i) {
      const std::string key = "s" + std::to_string(i);
      tar.add(key + ".jpg", i == 2 ? std::string("no picture")
                                   : encode_jpeg(plain(static_cast<std::uint8_t>(50 * i), 200), 100));
      tar.add(key + ".txt", "a picture");
    }
    io::write_file_atomic(folder_ / "0.tar", tar.bytes(), false);
    build_shard_index(folder_ / "0.tar", jobs::DataFormat::kWebdataset, {}, folder_ / "0.idx");
    return ShardReader(folder_ / "0.tar", folder_ / "0.idx");
  }
};

jobs::ImagePreprocess small() {
  return {.image_px = 8, .resize_px = 10, .mean = {0.5f, 0.25f, 0}, .std = {0.5f, 2, 1}};
}

TEST_F(ImageBatchTest, PicturesAreTurnedWhereTheirSourceSaysSo) {
  std::string jpeg;
  const std::string golden =
      io::read_file(io::Path(TRIREME_SOURCE_DIR) / "tests/golden/worker_data_more_images.tar");
  store::scan_tar(golden, [&](const store::TarMember& m) {
    if (m.name == "turned-JPEG-6.jpg") jpeg = golden.substr(m.offset, m.size);
  });
  io::write_file_atomic(folder_ / "1.tar", testing::TarWriter().add("a.jpg", jpeg).add("a.txt", "b").bytes(),
                        false);
  std::vector<std::string> readings;
  for (const bool turned : {false, true}) {
    jobs::SourceSpec source;
    source.exif_orientation = turned;
    readings.push_back(
        build_shard_index(folder_ / "1.tar", jobs::DataFormat::kWebdataset, source, folder_ / "1.idx")
            .reading);
    const ShardReader reader(folder_ / "1.tar", folder_ / "1.idx");
    EXPECT_EQ(reader.exif_orientation(), turned);
    EXPECT_FALSE(reader.icc_to_srgb());
    Image image;
    ASSERT_EQ(decode_image(jpeg, {.options = {.exif_orientation = turned}}, image), "");
    EXPECT_EQ(image.width < image.height, turned);
    at::Tensor expected = at::empty({3, 8, 8});
    evaluation_view(image, small(), expected.data_ptr<float>());
    EXPECT_TRUE(at::equal(evaluation_batch(reader, {0}, small()).image_BCHW[0], expected));
  }
  EXPECT_NE(readings[0], readings[1]) << "stages behind would be taken from the store";
}

TEST_F(ImageBatchTest, RowsAreThePicturesThatCouldBeDecodedInTheOrderAskedFor) {
  const auto reader = shard();
  const auto batch = evaluation_batch(reader, {4, 2, 1}, small());
  EXPECT_EQ(batch.rows, (std::vector<std::size_t>{0, 2}));
  ASSERT_EQ(batch.faults.size(), 1u);
  EXPECT_EQ(batch.faults[0].first, 1u);
  EXPECT_EQ(batch.faults[0].second, "unknown_format");
  ASSERT_EQ(batch.image_BCHW.sizes(), (at::IntArrayRef{2, 3, 8, 8}));
  for (const std::int64_t row : {0, 1}) {  // (byte / 255 - mean) / std, JPEG within two levels
    const double red = 50.0 * static_cast<double>(row == 0 ? 4 : 1) / 255;
    const auto image = batch.image_BCHW[row];
    EXPECT_LE((image[0] - (red - 0.5) / 0.5).abs().max().item<double>(), 2 / 255.0 / 0.5);
    EXPECT_LE((image[1] - (200.0 / 255 - 0.25) / 2).abs().max().item<double>(), 2 / 255.0 / 2);
  }
}

TEST_F(ImageBatchTest, TheFilterIsTheModels) {
  EXPECT_EQ(filter_of({}), Filter::kBicubic);
  EXPECT_EQ(filter_of({.bilinear = true}), Filter::kBilinear);
  EXPECT_EQ(filter_of({.pillow = true}), Filter::kPillowBicubic);
  EXPECT_EQ(filter_of({.bilinear = true, .pillow = true}), Filter::kPillowBilinear);
}

TEST_F(ImageBatchTest, NoPictureAtAll) {
  const auto batch = evaluation_batch(shard(), {2}, small());
  EXPECT_EQ(batch.image_BCHW.sizes(), (at::IntArrayRef{0, 3, 8, 8}));
  EXPECT_EQ(batch.faults.size(), 1u);
}

TEST_F(ImageBatchTest, SquareResizeKeepsWhatACropCutsOff) {
  Image image = plain(0, 0);  // left and right fifth are white
  for (std::size_t p = 0; p < 40 * 20; ++p)
    if (p % 40 < 8 || p % 40 >= 32) image.rgb[3 * p] = 255;
  jobs::ImagePreprocess preprocess = small();
  preprocess.resize_px = 8;
  const auto red_of = [&](bool square, bool bilinear) {
    preprocess.square = square;
    preprocess.bilinear = bilinear;
    at::Tensor view = at::empty({3, 8, 8}, at::kFloat);
    evaluation_view(image, preprocess, view.data_ptr<float>());
    return view[0].clone();
  };
  EXPECT_LT(red_of(false, false).max().item<double>(), 0);  // the middle alone
  EXPECT_NEAR(red_of(true, false)[4][0].item<double>(), 1, 0.1);
  EXPECT_FALSE(at::equal(red_of(true, false), red_of(true, true)));
}

}  // namespace
}  // namespace trireme::worker::data
