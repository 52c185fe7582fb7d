// Towers replayed as CUDA graphs on a real GPU.
#include <dlfcn.h>

#include <filesystem>
#include <optional>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/support/registered_replay.h"
#include "worker/models/autocast.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::models {
namespace {

TEST(ReplayedTowers, GiveWhatTheyGiveWithoutGraphs) {
  if (!std::filesystem::exists("/dev/nvidia0"))
    GTEST_SKIP() << "no GPU on this machine: CUDA graphs were NOT judged";
  ASSERT_NE(::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL), nullptr) << ::dlerror();
  const auto plugin = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libtrireme_cuda.so";
  ASSERT_NE(::dlopen(plugin.c_str(), RTLD_NOW), nullptr) << ::dlerror();
  ASSERT_TRUE(kernels::can_record(at::kCUDA));

  jobs::ModelSpec spec;
  spec.image.image_px = 64;
  spec.image.patch_px = 16;
  spec.image.width = spec.text.width = 128;
  spec.image.layers = spec.text.layers = 4;
  spec.image.heads = spec.text.heads = 2;
  spec.text.context = 40;
  spec.embed_dim = 64;
  for (const auto kind : {jobs::TextTowerKind::kTransformer, jobs::TextTowerKind::kBert})
    for (const bool bf16 : {false, true}) {
      spec.text.kind = kind;
      DualEncoder model(spec, 1);
      model.to("cuda:0");
      const at::NoGradGuard no_gradients;
      const Autocast autocast("cuda:0", bf16);
      const auto options = at::TensorOptions().device(at::kCUDA);
      for (int round = 0; round < 6; ++round) {
        const at::Tensor image = at::randn({7, 3, 64, 64}, options);
        const at::Tensor tokens = at::randint(5, 4000, {7, 3 + 5 * (round % 2)}, options.dtype(at::kLong));
        std::optional<kernels::RegisteredReplay> nothing(std::in_place, nullptr, c10::DispatchKey::CUDA);
        const at::Tensor image_alone = model.encode_image(image), text_alone = model.encode_text(tokens);
        nothing.reset();
        const double limit = bf16 ? 2e-2 : 1e-5;
        EXPECT_LT((model.encode_image(image) - image_alone).abs().max().item<double>(), limit);
        EXPECT_LT((model.encode_text(tokens) - text_alone).abs().max().item<double>(), limit);
      }
    }
}

}  // namespace
}  // namespace trireme::worker::models
