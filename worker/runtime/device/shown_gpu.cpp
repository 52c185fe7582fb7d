#include "worker/runtime/device/shown_gpu.h"

namespace trireme::worker::runtime {

ShownGpu shown_gpu(int number, int count, const io::VisibleGpus& visible, const char* given,
                   const std::string& order) {
  ShownGpu shown;
  shown.words = "GPU " + std::to_string(number) + " of " + std::to_string(count);
  if (given != nullptr) shown.words += std::string(" that CUDA_VISIBLE_DEVICES ('") + given + "') leaves";
  if (!visible.remark.empty()) shown.words += " (" + visible.remark + ")";
  const bool known = order == "PCI_BUS_ID" && static_cast<int>(visible.gpus.size()) == count;
  if (!known) return shown;
  const io::Gpu& gpu = visible.gpus[static_cast<std::size_t>(number)];
  shown.name = gpu.model;
  if (gpu.number < 0) {
    shown.words += ": instance " + gpu.uuid;
  } else {
    shown.words += ": number " + std::to_string(gpu.number) + " of this machine, " + gpu.address;
    if (!gpu.uuid.empty()) shown.words += ", " + gpu.uuid;
  }
  return shown;
}

std::string own_instance(const PlaceOnHost& place, const io::VisibleGpus& visible, const char* given) {
  if (!visible.instances || visible.gpus.empty()) return "";
  const int own = gpu_of(place, static_cast<int>(visible.gpus.size()), given);
  return visible.gpus[static_cast<std::size_t>(own)].uuid;
}

}  // namespace trireme::worker::runtime
