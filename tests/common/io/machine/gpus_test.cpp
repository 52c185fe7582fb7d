#include "common/io/machine/gpus.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::io {
namespace {

class Gpus : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = Path(::testing::TempDir()) / ("gpus-" + std::to_string(::getpid()));
    put("0000:81:00.0", "Model: \t\t NVIDIA H200\nIRQ: 12\nGPU UUID: \t GPU-bbbb2222-77\n");
    put("0000:01:00.0", "Model: \t\t NVIDIA H100 80GB HBM3\nGPU UUID: \t GPU-aaaa1111-77\n");
    put("0000:c1:00.0", "Model: \t\t NVIDIA H200\nGPU UUID: \t GPU-bbbb3333-77\n");
  }
  void TearDown() override { remove_tree(root_); }
  void put(const std::string& address, const std::string& text) {
    write_file_atomic(root_ / "proc/driver/nvidia/gpus" / address / "information", text, false);
  }
  // Numbers among the machine's, "M" for an instance.
  std::string left(const char* visible) {
    std::string numbers;
    shown_ = visible_gpus(visible, root_);
    for (const Gpu& gpu : shown_.gpus) numbers += gpu.number < 0 ? "M" : std::to_string(gpu.number);
    return numbers;
  }
  Path root_;
  VisibleGpus shown_;
};

TEST_F(Gpus, AreCountedByAddressAndDescribed) {
  const auto all = gpus(root_);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].address, "0000:01:00.0");
  EXPECT_EQ(all[0].model, "NVIDIA H100 80GB HBM3");
  EXPECT_EQ(all[1].number, 1);
  EXPECT_EQ(all[1].uuid, "GPU-bbbb2222-77");
  EXPECT_TRUE(gpus(root_ / "nothing").empty());
}

TEST_F(Gpus, VisibleAreThoseThatCudaShows) {
  EXPECT_EQ(left(nullptr), "012");
  EXPECT_EQ(left("2,0"), "20");
  EXPECT_EQ(left(" 1 , 2"), "12") << "spaces";
  EXPECT_EQ(left("+1,2x"), "12") << "as strtoul reads them";
  EXPECT_EQ(left("1,"), "1");
  EXPECT_EQ(shown_.remark, "");
  EXPECT_EQ(left("GPU-aaaa,GPU-bbbb3333-77"), "02") << "beginnings of UUIDs";
  EXPECT_EQ(left("GPU-bbbb2, GPU-aaaa"), "10");
  EXPECT_EQ(shown_.remark, "");
  EXPECT_EQ(left("MIG-8f6c,MIG-11aa"), "MM");
  EXPECT_TRUE(shown_.instances);
  EXPECT_EQ(shown_.gpus[1].uuid, "MIG-11aa");
}

TEST_F(Gpus, TheListEndsAtWhatIsNotThere) {
  const auto ends = [&](const char* visible, const std::string& numbers, const std::string& remark) {
    EXPECT_EQ(left(visible), numbers) << visible;
    EXPECT_EQ(shown_.remark, remark) << visible;
  };
  ends("", "", "it is empty");
  ends("  ", "", "it is empty");
  ends("-1", "", "'-1' is none of this machine's 3 GPUs");
  ends("0,-1,2", "0", "'-1' is none of this machine's 3 GPUs");
  ends("1,7,0", "1", "'7' is none of this machine's 3 GPUs");
  ends("1,,0", "1", "'' is none of this machine's 3 GPUs");
  ends("NoDevFiles", "", "'NoDevFiles' is none of this machine's 3 GPUs");
  ends("GPU-bbbb", "", "'GPU-bbbb' is none of this machine's 3 GPUs");  // it could be two
  ends("GPU-aaaa,1", "0", "'1' is none of this machine's 3 GPUs");      // numbers are not UUIDs
  ends("0,GPU-bbbb2222", "0", "'GPU-bbbb2222' is none of this machine's 3 GPUs");
  ends("MIG-1,0", "M", "'0' is no MIG-…");
}

TEST_F(Gpus, OneThatIsNamedTwiceLeavesNone) {
  for (const char* visible : {"1,1", "0,1,0", "GPU-aaaa,GPU-aaaa1", "MIG-1,MIG-1", "0,00"}) {
    EXPECT_EQ(left(visible), "") << visible;
    EXPECT_NE(shown_.remark.find("is named twice, and CUDA then shows none"), std::string::npos) << visible;
  }
}

TEST_F(Gpus, WithoutTheDriversListNothingIsSaidOfIt) {
  const auto shown = visible_gpus("0,1", root_ / "nothing");
  EXPECT_TRUE(shown.gpus.empty());
  EXPECT_EQ(shown.remark, "");
}

}  // namespace
}  // namespace trireme::io
