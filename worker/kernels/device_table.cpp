#include "worker/kernels/device_table.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/TensorOptions.h>
#include <torch/library.h>

#include "worker/kernels/pair_tile/pair_tile.h"
#include "worker/kernels/replay/replay.h"

TORCH_LIBRARY(trireme, library) {
  for (const char* table :
       {trireme::worker::kernels::PairTileTable::kOperator, trireme::worker::kernels::ReplayTable::kOperator})
    library.def((std::string(table) + "() -> int").c_str());
}

namespace trireme::worker::kernels {

std::int64_t device_table_address(const char* table, const at::Device& device) {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(table, "").typed<std::int64_t()>();
  const auto key = c10::computeDispatchKey(at::kFloat, at::kStrided, device);
  return op.hasKernelForDispatchKey(key) ? op.redispatch(c10::DispatchKeySet(key)) : 0;
}

}  // namespace trireme::worker::kernels
