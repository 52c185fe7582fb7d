// Checkpoints as people hold them: wrapped names, averaged copies, several files behind an index.
#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/base/error.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/checkpoint/wrapper_names.h"

namespace trireme::worker::checkpoint {
namespace {

namespace fs = std::filesystem;
using Names = std::vector<std::string>;

fs::path held_file(const std::string& name) {
  const auto folder = fs::temp_directory_path() / ("trireme_checkpoint_files_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  return folder / name;
}

TEST(WrapperNames, GoInAnyNesting) {
  EXPECT_EQ(unwrapped({"module._orig_mod.visual.proj", "module._orig_mod.logit_scale"}, "f").names,
            (Names{"visual.proj", "logit_scale"}));
  EXPECT_EQ(unwrapped({"_orig_mod.module.visual._orig_mod.conv1.weight", "_orig_mod.module.logit_scale"}, "f")
                .names,
            (Names{"visual.conv1.weight", "logit_scale"}));
  EXPECT_EQ(unwrapped({"state_dict.model.visual.proj", "state_dict.model.ln_final.bias"}, "f").names,
            (Names{"visual.proj", "ln_final.bias"}));
  EXPECT_EQ(unwrapped({"visual.proj", "text.ln_final.bias"}, "f").names,
            (Names{"visual.proj", "text.ln_final.bias"}));
}

TEST(WrapperNames, OfAnAveragedCopyTheRawWeightsAreTaken) {
  const auto both = unwrapped({"ema.visual.proj", "model.visual.proj"}, "f");
  EXPECT_EQ(both.names, (Names{"", "visual.proj"}));
  EXPECT_EQ(both.left, "ema");
  EXPECT_EQ(unwrapped({"ema.visual.proj", "ema.logit_scale"}, "f").names,
            (Names{"visual.proj", "logit_scale"}));
  EXPECT_THROW(unwrapped({"module.visual.proj", "_orig_mod.visual.proj"}, "f"), Error);
}

TEST(ShardedCheckpoint, IsOneFileToItsReader) {
  write_safetensors(held_file("part-1.safetensors"), {{"a", at::ones({2})}}, {}, false);
  write_safetensors(held_file("part-2.safetensors"), {{"module.b", at::full({3}, 2)}}, {}, false);
  std::ofstream(held_file("model.safetensors.index.json"))
      << R"({"weight_map": {"a": "part-1.safetensors", "module.b": "part-2.safetensors"}})";
  const auto file = SafetensorsFile::of_checkpoint(held_file("model.safetensors.index.json"));
  EXPECT_EQ(file.names(), (Names{"a", "b"}));
  EXPECT_EQ(file.load("b").sum().item<double>(), 6);
  for (const char* damaged :
       {R"({"weight_map": {"a": "part-1.safetensors", "c": "part-2.safetensors"}})",
        R"({"weight_map": {"a": "../part-1.safetensors"}})", R"({"weight_map": {"a": 3}})", "{}",
        R"({"weight_map": {"a": "part-3.safetensors"}})"}) {
    std::ofstream(held_file("bad.safetensors.index.json")) << damaged;
    EXPECT_THROW(SafetensorsFile::of_checkpoint(held_file("bad.safetensors.index.json")), Error) << damaged;
  }
}

}  // namespace
}  // namespace trireme::worker::checkpoint
