#include "worker/collective/nccl_log.h"

#include <gtest/gtest.h>

namespace trireme::worker::collective {
namespace {

TEST(NcclLog, NamesTheNetworkThatIsTaken) {
  EXPECT_EQ(network_of("a:1:2 [0] NCCL INFO NET/Plugin: Could not find: libnccl-net.so\n"
                       "a:1:2 [0] NCCL INFO NET/IB : No device found.\n"
                       "a:1:2 [0] NCCL INFO NET/Socket : Using [0]eth0:10.0.0.1<0>\n"
                       "a:1:2 [0] NCCL INFO Using network Socket\n"),
            "Socket [0]eth0:10.0.0.1<0>");
  EXPECT_EQ(network_of("b NCCL INFO NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/IB [RO]; OOB ib0:10.1.0.1<0>"),
            "IB [0]mlx5_0:1/IB [1]mlx5_1:1/IB [RO]; OOB ib0:10.1.0.1<0>");
  EXPECT_EQ(network_of(""), "");
  EXPECT_EQ(network_of("NCCL INFO comm 0x1 : Using 3 things\n"), "");
}

}  // namespace
}  // namespace trireme::worker::collective
