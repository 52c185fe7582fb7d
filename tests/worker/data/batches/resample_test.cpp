// The resize of pictures against torch's uint8 kernels, whose bytes earlier outputs were made with.
#include "worker/data/images/resample.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <vector>

#include "common/base/random.h"

namespace trireme::worker::data {
namespace {

at::Tensor by_torch(std::vector<std::uint8_t>& rgb, std::int64_t width, std::int64_t height,
                    std::int64_t out_width, std::int64_t out_height, Filter filter) {
  const at::Tensor in =
      at::from_blob(rgb.data(), {1, 3, height, width}, {height * width * 3, 1, width * 3, 3}, at::kByte);
  const at::Tensor out =
      filter == Filter::kBicubic
          ? at::_upsample_bicubic2d_aa(in, {out_height, out_width}, false, std::nullopt, std::nullopt)
          : at::_upsample_bilinear2d_aa(in, {out_height, out_width}, false, std::nullopt, std::nullopt);
  return out.permute({0, 2, 3, 1}).contiguous();
}

TEST(Resample, EqualsTorchByteForByte) {
  RandomStream random(5, RandomPurpose::kTest);
  const auto side = [&](std::uint64_t most) { return 1 + static_cast<std::int64_t>(random.below(most)); };
  for (int round = 0; round < 300; ++round) {
    const std::uint64_t most = round % 10 == 0 ? 1500 : 200;
    const std::int64_t width = side(most), height = side(most);
    const std::int64_t out_width = round % 7 == 0 ? width : side(300), out_height = side(300);
    const Filter filter = round % 2 == 0 ? Filter::kBicubic : Filter::kBilinear;
    std::vector<std::uint8_t> rgb(static_cast<std::size_t>(width * height * 3));
    const bool hard = round % 3 == 0;  // black and white alone: sums leave the bytes' range
    for (auto& byte : rgb) byte = static_cast<std::uint8_t>(hard ? 255 * random.below(2) : random.below(256));
    std::vector<std::uint8_t> got(static_cast<std::size_t>(out_width * out_height * 3));
    resample(rgb.data(), width, height, got.data(), out_width, out_height, filter);
    const at::Tensor expected = by_torch(rgb, width, height, out_width, out_height, filter);
    const auto* bytes = expected.const_data_ptr<std::uint8_t>();
    ASSERT_TRUE(std::equal(got.begin(), got.end(), bytes))
        << width << " x " << height << " to " << out_width << " x " << out_height;
  }
}

}  // namespace
}  // namespace trireme::worker::data
