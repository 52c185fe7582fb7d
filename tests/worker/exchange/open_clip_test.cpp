// Every way of computing that open_clip's configurations can ask for, against what open_clip computes: tiny
// models recorded by tests/oracles/record_open_clip.py, read by the specification that their own config
// gives.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/open_clip_agreement.h"

namespace trireme::worker::exchange {
namespace {

namespace fs = std::filesystem;

// A checkpoint folder as open_clip writes it, and inputs.safetensors beside.
fs::path folder_of(const fs::path& golden) {
  const checkpoint::SafetensorsFile file(golden);
  const fs::path folder =
      fs::temp_directory_path() / ("trireme_open_clip_" + std::to_string(::getpid())) / golden.stem();
  fs::create_directories(folder);
  std::vector<std::pair<std::string, at::Tensor>> weights, inputs;
  for (const std::string& name : file.names())
    if (name.starts_with("weight."))
      weights.emplace_back(name.substr(7), file.load(name));
    else
      inputs.emplace_back(name, file.load(name));
  checkpoint::write_safetensors(folder / "open_clip_model.safetensors", weights, {}, false);
  checkpoint::write_safetensors(folder / "inputs.safetensors", inputs, {}, false);
  std::ofstream(folder / "open_clip_config.json") << file.metadata().at("open_clip_config");
  return folder;
}

TEST(OpenClip, EveryOptionComputesWhatOpenClipComputes) {
  int cases = 0;
  for (const auto& entry :
       fs::directory_iterator(std::string(TRIREME_SOURCE_DIR) + "/tests/golden/open_clip")) {
    const auto found = testing::agreement_with(folder_of(entry.path()));
    EXPECT_TRUE(found.refused.empty()) << entry.path() << ": " << found.refused.front();
    EXPECT_LE(found.image, 1e-5) << entry.path();
    EXPECT_LE(found.text, 1e-5) << entry.path();
    ++cases;
  }
  EXPECT_EQ(cases, 12);
}

}  // namespace
}  // namespace trireme::worker::exchange
