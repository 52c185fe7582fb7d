#include "worker/runtime/device.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include <dlfcn.h>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/version.h>

#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::worker::runtime {
namespace {
io::Path torch_folder() {
  Dl_info info{};
  // Any symbol that lives in libtorch_cpu.
  if (::dladdr(reinterpret_cast<const void*>(&at::get_num_threads), &info) == 0 || info.dli_fname == nullptr)
    return {};
  return io::Path(info.dli_fname).parent_path();
}

bool driver_is_here() {
  return io::exists("/dev/nvidiactl") || io::exists("/dev/dxg") || io::exists("/proc/driver/nvidia/version");
}

// "Model: NVIDIA H100 …" of the n-th GPU, "" when the driver does not say.
std::string model_of(int number) {
  const auto folders = io::list_folder_if_there("/proc/driver/nvidia/gpus");
  if (number >= static_cast<int>(folders.size())) return "";
  io::LineReader information(folders[static_cast<std::size_t>(number)] / "information");
  for (std::string line; information.next(line);)
    if (line.rfind("Model:", 0) == 0) return line.substr(line.find_first_not_of(" \t", 6));
  return "";
}
}  // namespace

DeviceChoice choose_device(int position_on_host) {
  if (!driver_is_here()) return {"cpu", "", "no NVIDIA driver on this machine (/dev/nvidiactl is absent)"};
  const io::Path library = torch_folder() / "libtorch_cuda.so";
  if (!io::exists(library))
    return {"cpu", "",
            "there is a GPU driver, but " + library.string() +
                " is absent: install torch with its CUDA parts (`./quickstart build` on this machine)"};
  if (::dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* reason = ::dlerror();
    return {"cpu", "",
            std::string("libtorch_cuda.so does not load: ") +
                (reason != nullptr ? reason : "no reason given") +
                "; install torch's CUDA parts (`./quickstart build` on this machine)"};
  }
  if (!at::globalContext().hasCUDA())
    return {"cpu", "",
            "libtorch_cuda.so is loaded, but it finds no usable GPU: the driver may be too old for CUDA " +
                std::string("of torch ") + TORCH_VERSION + ", or CUDA_VISIBLE_DEVICES hides all"};
  const int count = at::detail::getCUDAHooks().deviceCount();
  if (count < 1) return {"cpu", "", "libtorch_cuda.so is loaded, but CUDA_VISIBLE_DEVICES leaves no GPU"};
  const int number = std::max(position_on_host, 0) % count;
  return {"cuda:" + std::to_string(number), model_of(number),
          "GPU " + std::to_string(number) + " of " + std::to_string(count) +
              ", libtorch_cuda.so loaded at run time"};
}

std::string device_report(const DeviceChoice& choice) {
  std::ostringstream text;
  text << "device: " << choice.device << (choice.name.empty() ? "" : " ") << choice.name << "\n";
  text << "why: " << choice.why << "\n";
  text << "torch: " << TORCH_VERSION << " in " << torch_folder().string() << "\n";
  text << "cpu capability: " << at::get_cpu_capability() << "\n";
  return text.str();
}

}  // namespace trireme::worker::runtime
