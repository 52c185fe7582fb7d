#include "worker/nn/layers.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>

namespace trireme::worker::nn {
namespace {

TEST(Gelu, ExactAndQuick) {
  const at::Tensor x = at::tensor({1.0, -1.0}, at::kDouble);
  EXPECT_NEAR(nn::gelu(x)[0].item<double>(), .8413447, 1e-7);
  EXPECT_NEAR(nn::gelu(x)[1].item<double>(), -.1586553, 1e-7);
  EXPECT_NEAR(activate(x, Activation::kQuickGelu)[0].item<double>(), .8458, 1e-4);
  EXPECT_NEAR(activate(x, Activation::kQuickGelu)[1].item<double>(), -.1542, 1e-4);
}

at::Tensor drawn(const std::string& name, std::int64_t count, std::uint64_t seed) {
  at::Tensor tensor = at::empty({count}, at::kFloat);
  fill_normal(tensor, seed, name, 0.5);
  return tensor;
}

TEST(ParameterSet, DrawsDependOnSeedAndNameAlone) {
  const at::Tensor a = drawn("a", 200001, 7);
  EXPECT_TRUE(at::equal(a, drawn("a", 200001, 7)));
  EXPECT_FALSE(at::equal(a, drawn("b", 200001, 7)));
  EXPECT_FALSE(at::equal(a, drawn("a", 200001, 8)));
  EXPECT_NEAR(a.mean().item<double>(), 0, 0.01);
  EXPECT_NEAR(a.std().item<double>(), 0.5, 0.01);
  // Shape of a normal distribution: 68.3 % within one deviation, 95.4 % within two.
  EXPECT_NEAR((a.abs() < 0.5).to(at::kDouble).mean().item<double>(), 0.6827, 0.005);
  EXPECT_NEAR((a.abs() < 1.0).to(at::kDouble).mean().item<double>(), 0.9545, 0.005);
  EXPECT_NEAR((a.slice(0, 1) * a.slice(0, 0, 200000)).mean().item<double>(), 0, 0.005);
  at::Tensor u = at::empty({200001}, at::kFloat);
  fill_uniform(u, 7, "u", 0.25);
  EXPECT_LT(u.max().item<double>(), 0.25);
  EXPECT_GE(u.min().item<double>(), -0.25);
  EXPECT_NEAR(u.std().item<double>(), 0.5 / std::sqrt(12), 0.002);
}

// softmax(q k^T / sqrt(d)) v, written out in float64.
TEST(SelfAttention, EqualsTheFormula) {
  const std::int64_t n = 2, length = 5, heads = 3, width = 12, d = width / heads;
  const at::Tensor qkv = drawn("qkv", n * length * 3 * width, 1).to(at::kDouble).view({n, length, 3 * width});
  const at::Tensor keep = at::ones({n, 1, 1, length}, at::kBool);
  keep[1][0][0].slice(0, 3).fill_(false);
  for (const bool causal : {false, true}) {
    const auto split = [&](std::int64_t part) {
      return qkv.slice(2, part * width, (part + 1) * width).reshape({n, length, heads, d}).transpose(1, 2);
    };
    at::Tensor score = split(0).matmul(split(1).transpose(2, 3)) / std::sqrt(static_cast<double>(d));
    if (causal) score = score.masked_fill(at::ones({length, length}, at::kBool).triu(1), -INFINITY);
    if (!causal) score = score.masked_fill(keep.logical_not(), -INFINITY);
    const at::Tensor expected =
        score.softmax(-1).matmul(split(2)).transpose(1, 2).reshape({n, length, width});
    const at::Tensor found = self_attention(qkv, heads, causal, causal ? at::Tensor() : keep);
    EXPECT_LT((found - expected).abs().max().item<double>(), 1e-12);
  }
}

}  // namespace
}  // namespace trireme::worker::nn
