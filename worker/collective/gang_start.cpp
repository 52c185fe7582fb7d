#include "worker/collective/gang_start.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/base/error.h"

namespace trireme::worker::collective {
namespace {
constexpr std::int64_t kNameBytes = 96, kTried = 1024;
}

std::string mixed_kinds(Group& host, const std::string& kind) {
  const at::Tensor own = at::zeros({1, kNameBytes}, at::kByte);
  std::memcpy(own.data_ptr(), kind.data(), std::min(kind.size(), static_cast<std::size_t>(kNameBytes) - 1));
  const at::Tensor all = host.all_gather(own);
  std::vector<std::string> kinds;
  std::string told;
  for (std::int64_t rank = 0; rank < all.size(0); ++rank) {
    const std::string name(static_cast<const char*>(all.const_data_ptr()) + rank * kNameBytes);
    if (name.empty() || std::find(kinds.begin(), kinds.end(), name) != kinds.end()) continue;
    kinds.push_back(name);
    told += (told.empty() ? "'" : ", '") + name + "' from rank " + std::to_string(rank);
  }
  return kinds.size() < 2
             ? ""
             : "the gang's devices are of different kinds (" + told + "): the slowest sets the pace";
}

void try_group(Group& group, const std::string& device) {
  if (!group.sums_natively()) return;
  at::Tensor ones = at::ones({kTried}, at::TensorOptions().device(at::Device(device)));
  group.all_reduce_sum(ones);
  const bool right = ones.eq(group.size()).all().item<bool>();
  group.confirm();
  if (!right) throw Error(ErrorKind::kUnavailable, "a sum over " + device + " and its peers comes out wrong");
}

}  // namespace trireme::worker::collective
