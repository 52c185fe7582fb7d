// Passes are recorded on a device by functions of a test, for as long as this lives.
#pragma once

#include <torch/library.h>

#include "worker/kernels/replay/replay.h"

namespace trireme::worker::kernels {

class RegisteredReplay {
 public:
  explicit RegisteredReplay(decltype(ReplayTable::record) record,
                            c10::DispatchKey device = c10::DispatchKey::CPU)
      : table_{record}, library_(torch::Library::IMPL, "trireme", device, __FILE__, __LINE__) {
    library_.impl(ReplayTable::kOperator,
                  [table = &table_] { return reinterpret_cast<std::int64_t>(table); });
  }
  RegisteredReplay(const RegisteredReplay&) = delete;
  RegisteredReplay& operator=(const RegisteredReplay&) = delete;

 private:
  ReplayTable table_;
  torch::Library library_;
};

}  // namespace trireme::worker::kernels
