// Functions that a device has of its own, found by torch's dispatcher: an operator per table, whose kernel
// for a device gives the table's address. The CUDA plug-in registers CUDA's as it is loaded
// (TORCH_LIBRARY_IMPL); nothing is kept here. Any thread.
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>
#include <torch/version.h>

// The operator of a table. What a plug-in of another torch registers is not found.
#define TRIREME_TABLE(name)                                                  \
  "trireme::" name "_" C10_STRINGIZE(TORCH_VERSION_MAJOR) "_" C10_STRINGIZE( \
      TORCH_VERSION_MINOR) "_" C10_STRINGIZE(TORCH_VERSION_PATCH)

namespace trireme::worker::kernels {

// 0 where nobody registered one.
std::int64_t device_table_address(const char* table, const at::Device& device);

// A table has its operator's name, and lives as long as its registration. Null where the device has none.
template <class Table>
const Table* device_table(const at::Device& device) {
  return reinterpret_cast<const Table*>(device_table_address(Table::kOperator, device));
}

}  // namespace trireme::worker::kernels
