// bf16 autocast of the current thread for the lifetime of the object (matmuls and convolutions in bf16,
// weights stay float32). Off does nothing.
#pragma once

#include <string>

namespace trireme::worker::models {

class Autocast {
 public:
  Autocast(const std::string& device, bool bf16);  // device as in DualEncoder::to()
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool on_, cuda_, was_on_ = false;
};

}  // namespace trireme::worker::models
