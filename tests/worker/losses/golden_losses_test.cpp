// Against tests/golden/losses.txt, which tests/oracles/losses.py wrote with PyTorch alone.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/worker/losses/support/full_matrix.h"

namespace trireme::worker::losses {
namespace {

at::Tensor rows_of(int of_case, int modality, std::int64_t rows, std::int64_t width) {
  const at::Tensor i = at::arange(1, rows + 1, at::kDouble).unsqueeze(1);
  const at::Tensor k = at::arange(1, width + 1, at::kDouble).unsqueeze(0);
  const at::Tensor value = at::sin(0.7 * i * k + 1.3 * modality + 0.1 * of_case) +
                           0.5 * at::cos(1.3 * i + 0.9 * k * (modality + 1));
  return value / value.norm(2, {1}, true);
}

WholeBatch read(std::istream& line, int of_case) {
  std::int64_t rows = 0, width = 0, texts = 0, labels = 0;
  int sigmoid = 0, reduction = 0, detach = 0, weights = 0, dead = 0;
  WholeBatch batch;
  auto& o = batch.options;
  line >> rows >> width >> texts >> sigmoid >> reduction >> o.smoothing >> o.alpha >> o.beta >> detach >>
      labels >> weights >> dead >> batch.point.scale >> batch.point.bias;
  o.kind = sigmoid != 0 ? ContrastiveKind::kSigmoid : ContrastiveKind::kSoftmax;
  o.reduction = static_cast<Reduction>(reduction);
  o.detach_weights = detach != 0;
  batch.image = rows_of(of_case, 0, rows, width);
  batch.live = at::ones({rows}, at::kByte);
  const at::Tensor index = at::arange(rows, at::kDouble);
  for (int p = 0; p < texts; ++p) {
    batch.texts.push_back(rows_of(of_case, p + 1, rows, width));
    if (weights != 0) batch.weights.push_back(0.5 + 0.5 * at::sin(index + p).square());
  }
  for (std::int64_t i = 0; i < rows; ++i)
    if (dead != 0 && (7 * i + of_case) % 5 == 0) batch.live[i] = 0;
  if (labels > 0) batch.labels = at::arange(rows, at::kLong).remainder(labels);
  batch.slots = rows % 2 == 0 ? 2 : 1;
  return batch;
}

TEST(GoldenLosses, AThousandConfigurations) {
  std::ifstream file(TRIREME_SOURCE_DIR "/tests/golden/losses.txt");
  ASSERT_TRUE(file.is_open());
  int count = 0;
  for (std::string text; std::getline(file, text); ++count) {
    std::istringstream line(text);
    const auto batch = read(line, count);
    const auto result = streamed(batch, 1);
    std::vector<double> got{result.loss, result.log_scale, result.bias};
    const at::Tensor wave = at::arange(batch.image.numel(), at::kDouble).cos();
    got.push_back((result.image.flatten() * wave).sum().item<double>());
    for (const auto& gradient : result.texts) got.push_back((gradient.flatten() * wave).sum().item<double>());
    for (const double value : got) {
      double want = NAN;
      line >> want;
      EXPECT_NEAR(value, want, 1e-9 * std::max(1.0, std::abs(want))) << "line " << count + 1 << ": " << text;
    }
  }
  EXPECT_EQ(count, 1000);
}

}  // namespace
}  // namespace trireme::worker::losses
