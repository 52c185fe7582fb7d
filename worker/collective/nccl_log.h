// What NCCL says of the network it takes. It says it only in a log of its own (NCCL_DEBUG_FILE).
#pragma once

#include <string>
#include <string_view>

namespace trireme::worker::collective {

// "IB mlx5_0:1 mlx5_1:1" or "Socket eth0:10.0.0.1<0>" out of NCCL's INFO lines, "" where none says it.
std::string network_of(std::string_view nccl_log);

}  // namespace trireme::worker::collective
