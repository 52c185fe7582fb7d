// Against float64, over shapes that fill tiles and shapes that do not; and where torch's operators take over.
#include "worker/kernels/few_rows.h"

#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <tuple>

namespace trireme::worker::kernels {
namespace {

double error_of(const at::Tensor& found, const at::Tensor& wanted) {
  return ((found.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}

at::Tensor softmax_over_tokens(const at::Tensor& query_NQT, const at::Tensor& token_NST) {
  const at::Tensor query = query_NQT.to(at::kDouble), token = token_NST.to(at::kDouble);
  return at::bmm(at::bmm(query, token.transpose(1, 2)).softmax(2), token);
}

TEST(FewRows, ProductsOfAnyShape) {
  at::manual_seed(1);
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 16, 17, 48, 128, 129})
      for (const auto& [in, out] :
           {std::pair<std::int64_t, std::int64_t>{16, 1}, {48, 97}, {256, 200}, {20, 30}}) {
        const at::Tensor x = at::randn({rows, in}), w = at::randn({out, in}), b = at::randn({out});
        const at::Tensor wanted = at::linear(x.to(at::kDouble), w.to(at::kDouble), b.to(at::kDouble));
        EXPECT_LE(error_of(linear_of_few(x, w, b), wanted), 1e-6) << rows << " " << in << " " << out;
      }
  }
  at::set_num_threads(1);
}

TEST(FewRows, ShapesAndStridesAreTorchs) {
  const at::Tensor x = at::randn({3, 2, 64}).transpose(0, 1), w = at::randn({64, 32}).t(),
                   b = at::randn({64}).slice(0, 0, 64, 2);
  const at::Tensor found = linear_of_few(x, w, b);
  EXPECT_EQ(found.sizes(), (at::IntArrayRef{2, 3, 32}));
  EXPECT_TRUE(at::allclose(found, at::linear(x, w, b), 1e-5, 1e-5));
  EXPECT_EQ(linear_of_few(at::empty({0, 64}), w, b).sizes(), (at::IntArrayRef{0, 32}));
}

TEST(FewRows, OtherTypesAndGradientsAreTorchs) {
  const at::Tensor x = at::randn({4, 32}, at::kDouble), w = at::randn({8, 32}, at::kDouble),
                   b = at::randn({8}, at::kDouble);
  EXPECT_TRUE(at::equal(linear_of_few(x, w, b), at::linear(x, w, b)));
  at::Tensor learned = at::randn({8, 32}).requires_grad_();
  const at::Tensor y = linear_of_few(at::ones({4, 32}), learned, at::zeros({8}));
  EXPECT_TRUE(at::allclose(torch::autograd::grad({y.sum()}, {learned})[0], at::full({8, 32}, 4.0)));
}

TEST(FewRows, AttentionOverTokensOfAnyShape) {
  at::manual_seed(2);
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    for (const std::int64_t images : {1, 3})
      for (const std::int64_t queries : {1, 4, 12, 13, 36, 100})
        for (const auto& [tokens, width] : {std::pair<std::int64_t, std::int64_t>{1, 16},
                                            {7, 48},
                                            {96, 64},
                                            {97, 32},
                                            {300, 80},
                                            {5, 20}}) {
          const at::Tensor query = at::randn({images, queries, width}) / 4,
                           token = at::randn({images, tokens, width});
          EXPECT_LE(error_of(attend_tokens(query, token), softmax_over_tokens(query, token)), 2e-6)
              << images << " " << queries << " " << tokens << " " << width;
        }
  }
  at::set_num_threads(1);
}

// The largest score comes last, first, and is far above or below what a float's exponential can hold.
TEST(FewRows, ScoresOfAnySize) {
  at::manual_seed(3);
  const at::Tensor token = at::randn({2, 250, 32}), ramp = at::linspace(-2, 2, 250).view({1, 250, 1});
  for (const double scale : {200.0, -200.0, 0.0}) {
    const at::Tensor tilted = token + ramp;
    const at::Tensor query = at::full({2, 5, 32}, scale / 32);
    const at::Tensor found = attend_tokens(query, tilted);
    EXPECT_TRUE(found.isfinite().all().item<bool>());
    EXPECT_LE(error_of(found, softmax_over_tokens(query, tilted)), 1e-4) << scale;
  }
}

}  // namespace
}  // namespace trireme::worker::kernels
