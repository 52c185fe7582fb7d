// GPUs as NVIDIA's driver lists them, and what CUDA_VISIBLE_DEVICES leaves of them.
#pragma once

#include <string>
#include <vector>

#include "common/io/file_system.h"

namespace trireme::io {

struct Gpu {
  int number = -1;      // among the machine's by PCI address, as nvidia-smi counts; -1 for an instance
  std::string address;  // "0000:1b:00.0"
  std::string model;    // "NVIDIA H200"; "" where the driver does not say
  std::string uuid;     // "GPU-…"; of an instance (a part of a GPU) "MIG-…"
};

// By PCI address. Empty without a driver. `root`: tests.
std::vector<Gpu> gpus(const Path& root = "/");

struct VisibleGpus {
  std::vector<Gpu> gpus;   // in the order in which a process numbers them
  bool instances = false;  // MIG: whatever the list names, CUDA shows a process one of them
  std::string remark;      // why it is fewer than are named, with the entry; "" where it is not
};

// As CUDA reads `visible` (CUDA_VISIBLE_DEVICES; null when it is not set; CUDA C++ Programming Guide,
// "Environment Variables", and torch.cuda's own reading): numbers, or the beginnings of UUIDs, after which
// kind the first entry decides. The list ends at the first entry that is none of this machine's, so that "-1"
// and "" leave none; one that is named twice leaves none, too. Spaces around entries do not count.
VisibleGpus visible_gpus(const char* visible, const Path& root = "/");

}  // namespace trireme::io
