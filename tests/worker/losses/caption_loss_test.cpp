#include "worker/losses/caption_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <string>

#include "common/base/error.h"

namespace trireme::worker::losses {
namespace {

constexpr std::int64_t kPadding = 0;

struct Case {
  at::Tensor logits_BLV, tokens_BL;
};

Case example() {
  at::Tensor tokens = at::zeros({2, 4}, at::kLong);
  const std::int64_t values[2][4] = {{1, 3, 2, 4}, {1, 4, kPadding, kPadding}};
  for (int b = 0; b < 2; ++b)
    for (int l = 0; l < 4; ++l) tokens[b][l] = values[b][l];
  return {at::sin(at::arange(2 * 4 * 5, at::kDouble)).view({2, 4, 5}), tokens};
}

TEST(CaptionLoss, EqualsTheDefinitionSpelledOut) {
  const auto [logits, tokens] = example();
  for (const double smoothing : {0.0, 0.1}) {
    double want = 0;
    std::int64_t count = 0;
    for (int b = 0; b < 2; ++b)
      for (int l = 0; l < 3; ++l) {
        const auto next = tokens[b][l + 1].item<std::int64_t>();
        if (next == kPadding) continue;
        const at::Tensor log_p = at::log_softmax(logits[b][l], 0);
        want -= (1 - smoothing) * log_p[next].item<double>() + smoothing * log_p.mean().item<double>();
        ++count;
      }
    const auto loss = caption_loss(logits, tokens, kPadding, smoothing);
    EXPECT_EQ(loss.count, count);
    EXPECT_EQ(loss.count, 4);
    EXPECT_NEAR(loss.sum.item<double>(), want, 1e-12);
  }
}

TEST(CaptionLoss, TheLastPositionAndPaddingGetNoGradient) {
  const auto [values, tokens] = example();
  const at::Tensor logits = values.clone().requires_grad_();
  const auto gradient = torch::autograd::grad({caption_loss(logits, tokens, kPadding).sum}, {logits})[0];
  for (const auto& [b, l, used] :
       {std::tuple{0, 3, false}, {1, 1, false}, {1, 3, false}, {0, 2, true}, {1, 0, true}})
    EXPECT_EQ(gradient[b][l].abs().sum().item<double>() > 0, used) << b << ", " << l;
}

TEST(CaptionLoss, NothingToPredictIsZero) {
  const auto [logits, tokens] = example();
  const auto short_one = caption_loss(logits.narrow(1, 0, 1), tokens.narrow(1, 0, 1), kPadding);
  EXPECT_EQ(short_one.count, 0);
  EXPECT_EQ(short_one.sum.item<double>(), 0);
  EXPECT_EQ(caption_loss(logits, at::zeros_like(tokens), kPadding).sum.item<double>(), 0);
}

TEST(CaptionLoss, RefusesForeignTokensAndShapes) {
  auto [logits, tokens] = example();
  tokens[1][1] = 9;
  try {
    caption_loss(logits, tokens, kPadding);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("row 1, position 1 holds token 9"), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(caption_loss(logits, tokens.narrow(1, 0, 2), kPadding), Error);
  EXPECT_THROW(caption_loss(logits, tokens, kPadding, 1.0), Error);
}

}  // namespace
}  // namespace trireme::worker::losses
