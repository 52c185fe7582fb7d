#include "worker/collective/nccl_log.h"

#include <algorithm>

namespace trireme::worker::collective {

std::string network_of(std::string_view nccl_log) {
  // "… NCCL INFO NET/IB : Using [0]mlx5_0:1/IB/SHARP [1]mlx5_1:1/RoCE ; OOB eth0:10.0.0.1<0>"
  constexpr std::string_view kNet = "NET/", kUsing = " : Using ";
  for (std::size_t at = nccl_log.find(kUsing); at != std::string_view::npos;
       at = nccl_log.find(kUsing, at + 1)) {
    const auto line = nccl_log.rfind('\n', at), begin = line == std::string_view::npos ? 0 : line + 1;
    const auto net = nccl_log.find(kNet, begin);
    if (net == std::string_view::npos || net > at) continue;
    const auto end = std::min(nccl_log.find('\n', at), nccl_log.size());
    std::string text(nccl_log.substr(net + kNet.size(), at - net - kNet.size()));
    return text.append(" ").append(nccl_log.substr(at + kUsing.size(), end - at - kUsing.size()));
  }
  return "";
}

}  // namespace trireme::worker::collective
