#include "common/io/machine/numa.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::io {
namespace {

class Numa : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = Path(::testing::TempDir()) / ("numa-" + std::to_string(::getpid()));
    put("sys/devices/system/node/node0/cpulist", "0-3,8-11\n");
    put("sys/devices/system/node/node1/cpulist", "4-7\n");
    put("sys/devices/system/node/node3/cpulist", "\n");
    put("sys/devices/system/node/possible", "0-3\n");
    // As the driver has them: the names sort by PCI address.
    gpu("0000:81:00.0", "1", "GPU-bbbb2222");
    gpu("0000:01:00.0", "0", "GPU-aaaa1111");
    gpu("0000:c1:00.0", "-1", "GPU-cccc3333");
  }
  void TearDown() override { remove_tree(root_); }
  void put(const std::string& name, const std::string& text) { write_file_atomic(root_ / name, text, false); }
  void gpu(const std::string& address, const std::string& node, const std::string& uuid) {
    put("proc/driver/nvidia/gpus/" + address + "/information",
        "Model: \t\t NVIDIA H200\nGPU UUID: \t " + uuid + "\n");
    put("sys/bus/pci/devices/" + address + "/numa_node", node + "\n");
  }
  Path root_;
};

TEST_F(Numa, NodesHaveTheirCoresByNumber) {
  const std::vector<std::vector<int>> expected{{0, 1, 2, 3, 8, 9, 10, 11}, {4, 5, 6, 7}, {}, {}};
  EXPECT_EQ(numa_nodes(root_), expected);
  EXPECT_TRUE(numa_nodes(root_ / "nothing").empty());
  EXPECT_FALSE(numa_nodes().empty()) << "this machine";
}

TEST_F(Numa, GpusAreCountedAsTheProcessSeesThem) {
  using Nodes = std::vector<std::int64_t>;
  EXPECT_EQ(gpu_numa_nodes(nullptr, root_), (Nodes{0, 1, -1}));
  EXPECT_EQ(gpu_numa_nodes("1,0", root_), (Nodes{1, 0}));
  EXPECT_EQ(gpu_numa_nodes("GPU-cccc,GPU-aaaa1111", root_), (Nodes{-1, 0}));
  EXPECT_EQ(gpu_numa_nodes("", root_), Nodes{});
  EXPECT_EQ(gpu_numa_nodes("-1", root_), Nodes{});
  EXPECT_EQ(gpu_numa_nodes("1,7,0", root_), Nodes{1}) << "CUDA ends the list at the first that is not there";
  EXPECT_EQ(gpu_numa_nodes("MIG-1,MIG-2", root_), (Nodes{-1, -1})) << "whose parts they are is not known";
}

TEST(CoreList, IsTheKernels) {
  EXPECT_EQ(parse_core_list("0-2,8,10-11"), (std::vector<int>{0, 1, 2, 8, 10, 11}));
  EXPECT_EQ(parse_core_list("7"), std::vector<int>{7});
  for (const char* text : {"", "x", "1-", "1-x", "2,,3", "0-99999999"})
    EXPECT_TRUE(parse_core_list(text).empty()) << text;
}

}  // namespace
}  // namespace trireme::io
