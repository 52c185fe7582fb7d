#include "worker/stages/train/state/step_log.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>

namespace trireme::worker::stages::train {
namespace {

std::vector<std::string> lines_of(const io::Path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

class StepLogTest : public ::testing::Test {
 protected:
  io::Path path_ = io::Path(::testing::TempDir()) / "trireme-step-log" / "log.jsonl";
  void SetUp() override { std::filesystem::remove_all(path_.parent_path()); }
};

TEST_F(StepLogTest, OneRowPerStepAfterARestart) {
  {
    StepLog log(path_, 0);
    for (int step = 1; step <= 5; ++step) log.append({.step = step, .loss = 0.5 * step});
  }
  std::ofstream(path_, std::ios::app) << "{\"step\": 6, \"lo";  // torn by a crash
  StepLog log(path_, 3);
  log.append({.step = 4, .loss = 7, .evaluation = "{\"acc1\": 0.5}"});
  const auto lines = lines_of(path_);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[2].find("{\"step\":3,"), 0U);
  EXPECT_NE(lines[3].find("\"loss\":7.0"), std::string::npos) << lines[3];
  EXPECT_NE(lines[3].find("\"evaluation\":{\"acc1\":0.5}"), std::string::npos);
}

TEST_F(StepLogTest, StartingAfreshEmptiesIt) {
  { StepLog(path_, 0).append({.step = 1}); }
  StepLog(path_, 0).append({.step = 1, .loss = std::numeric_limits<double>::quiet_NaN(), .skipped = true});
  const auto lines = lines_of(path_);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_NE(lines[0].find("\"loss\":null"), std::string::npos);
  EXPECT_NE(lines[0].find("\"skipped\":true"), std::string::npos);
}

}  // namespace
}  // namespace trireme::worker::stages::train
