#include "jobs/store/published.h"

#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "common/base/error.h"

namespace trireme::jobs {
namespace {

class PublishedTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "minilm.safetensors") << "x";
    ::setenv("TRIREME_WEIGHTS", folder_.c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("TRIREME_WEIGHTS");
    std::filesystem::remove_all(folder_);
  }

  static std::string refusal(const std::string& given) {
    try {
      return "found " + resolve_weights(given);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
      return error.what();
    }
  }

  io::Path folder_ = io::Path(testing::TempDir()) / ("published-" + std::to_string(::getpid()));
};

TEST_F(PublishedTest, NamesAndPaths) {
  const std::string file = (folder_ / "minilm.safetensors").string();
  EXPECT_EQ(resolve_weights("pretrained:minilm"), file);
  EXPECT_EQ(resolve_weights(file), file);
  EXPECT_NE(refusal("pretrained:minilmm").find("did you mean pretrained:minilm?"), std::string::npos);
  EXPECT_NE(refusal("pretrained:nothing").find("known are"), std::string::npos);
  EXPECT_NE(refusal("no-such-file").find("is no file and no folder of a model"), std::string::npos);
}

TEST_F(PublishedTest, AFolderHoldsOneModel) {
  const io::Path model = folder_ / "m";
  const auto put = [&](const char* name, const std::string& text) { std::ofstream(model / name) << text; };
  std::filesystem::create_directories(model);
  put("model.safetensors.index.json", R"({"weight_map": {"a": "1.safetensors", "b": "model.safetensors"}})");
  EXPECT_EQ(resolve_weights(model), (model / "model.safetensors.index.json").string());
  put("model.safetensors", "x");
  const auto fault = [&] {
    try {
      return "found " + resolve_weights(model);
    } catch (const Error& error) {
      return std::string(error.what());
    }
  };
  EXPECT_NE(fault().find("holds model.safetensors and model.safetensors.index.json"), std::string::npos)
      << fault();
  EXPECT_EQ(resolve_weights(model / "model.safetensors"), (model / "model.safetensors").string());
  put("model.safetensors.index.json", R"({"weight_map": {"a": "model.safetensors"}})");
  EXPECT_EQ(resolve_weights(model), (model / "model.safetensors").string());
  put("adapter_config.json", "{}");
  EXPECT_NE(fault().find("adapter_config.json"), std::string::npos) << fault();
}

// Layouts of the hub's cache and of other programs' folders.
TEST_F(PublishedTest, AFolderWithoutAModelSaysWhatItHolds) {
  const auto put = [&](const std::string& name) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << "x";
  };
  put("hub/models--a--b/snapshots/c0ffee/model.safetensors");
  EXPECT_NE(refusal(folder_ / "hub/models--a--b").find("snapshots/c0ffee"), std::string::npos);
  put("many/epoch_5.safetensors");
  put("many/epoch_6.safetensors");
  EXPECT_NE(refusal(folder_ / "many").find("holds epoch_5.safetensors, epoch_6.safetensors"),
            std::string::npos)
      << refusal(folder_ / "many");
  put("lightning/last.ckpt");
  EXPECT_NE(refusal(folder_ / "lightning").find("weights convert"), std::string::npos);
  put("keras/tf_model.h5");
  EXPECT_NE(refusal(folder_ / "keras").find("tf_model.h5 is no safetensors"), std::string::npos);
}

TEST_F(PublishedTest, WhatIsNotInstalledNamesTheFileAndWhatInstallsIt) {
  const std::string said = refusal("pretrained:efficientnet-lite0");
  EXPECT_NE(said.find((folder_ / "efficientnet-lite0.safetensors").string()), std::string::npos) << said;
  EXPECT_NE(said.find("./quickstart build"), std::string::npos) << said;
  EXPECT_THROW(resolve_vocabulary("pretrained:minilm"), Error);
}

TEST_F(PublishedTest, AFolderThatIsNamedIsTheOnlyOneLookedAt) {
  ::setenv("TRIREME_WEIGHTS", (folder_ / "absent").c_str(), 1);
  EXPECT_EQ(weights_folder(), folder_ / "absent");
  EXPECT_THROW(resolve_weights("pretrained:minilm"), Error);
}

}  // namespace
}  // namespace trireme::jobs
