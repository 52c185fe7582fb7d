#include "worker/runtime/device/device.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <vector>

#include <dlfcn.h>

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/util/Exception.h>
#include <torch/version.h>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/machine/gpus.h"
#include "worker/runtime/device/shown_gpu.h"

namespace trireme::worker::runtime {
namespace {

constexpr int kLeastDriver = 580;  // of CUDA 13.0, which torch's wheel is built for
constexpr std::int64_t kTrialSide = 256;
constexpr const char* kDriverVersion = "/proc/driver/nvidia/version";

io::Path torch_folder() {
  Dl_info info{};
  // Any symbol that lives in libtorch_cpu.
  if (::dladdr(reinterpret_cast<const void*>(&at::get_num_threads), &info) == 0 || info.dli_fname == nullptr)
    return {};
  return io::Path(info.dli_fname).parent_path();
}

bool driver_is_here() {
  return io::exists("/dev/nvidiactl") || io::exists("/dev/dxg") || io::exists(kDriverVersion);
}

std::string old_driver() {
  const std::string version =
      io::exists(kDriverVersion) ? driver_version(io::read_file(kDriverVersion, 4096)) : "";
  if (version.empty() || std::atoi(version.c_str()) >= kLeastDriver) return "";
  return "the NVIDIA driver is " + version + ", and torch " + TORCH_VERSION + " with CUDA 13 needs " +
         std::to_string(kLeastDriver) + " or later";
}

DeviceChoice on_cpu(const std::string& fallback, const std::string& why) {
  return {"cpu", "", why, fallback};
}

// libtorch_cuda.so is loaded.
DeviceChoice shown_by_cuda(const PlaceOnHost& place) {
  ::setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 0);  // its own order is by speed, and nobody else numbers so
  const char* const variable = std::getenv("CUDA_VISIBLE_DEVICES");
  const bool is_set = variable != nullptr;
  const std::string given = is_set ? variable : "";
  const char* const visible = is_set ? given.c_str() : nullptr;
  io::VisibleGpus shown = io::visible_gpus(visible);
  if (const std::string own = own_instance(place, shown, visible); !own.empty()) {
    ::setenv("CUDA_VISIBLE_DEVICES", own.c_str(), 1);
    shown = io::visible_gpus(own.c_str());
  }
  const int count = at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
  if (count < 1) {
    if (const std::string old = old_driver(); !old.empty()) return on_cpu("driver", old);
    if (is_set)
      return on_cpu("hidden", "CUDA_VISIBLE_DEVICES leaves no GPU that works ('" + given + "'" +
                                  (shown.remark.empty() ? "" : ": " + shown.remark) + ")");
    return on_cpu("driver", std::string("libtorch_cuda.so of torch ") + TORCH_VERSION +
                                " is loaded, but finds no GPU: does nvidia-smi?");
  }
  const int number = shown.instances ? 0 : gpu_of(place, count, visible);
  const ShownGpu gpu = shown_gpu(number, count, shown, visible, std::getenv("CUDA_DEVICE_ORDER"));
  return {"cuda:" + std::to_string(number), gpu.name, gpu.words + "; libtorch_cuda.so loaded at run time",
          ""};
}

// All but the trial of the GPU.
DeviceChoice find_device(const PlaceOnHost& place) {
  if (!driver_is_here()) return on_cpu("", "no NVIDIA driver on this machine (/dev/nvidiactl is absent)");
  const io::Path library = torch_folder() / "libtorch_cuda.so";
  const std::string install = "install torch with its CUDA parts (`./quickstart build` on this machine)";
  if (!io::exists(library))
    return on_cpu("torch", "there is a GPU driver, but " + library.string() + " is absent: " + install);
  if (::dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* reason = ::dlerror();
    return on_cpu("torch", std::string("libtorch_cuda.so does not load: ") +
                               (reason != nullptr ? reason : "no reason given") + "; " + install);
  }
  return shown_by_cuda(place);
}

}  // namespace

jobs::DevicePolicy device_policy_of_environment() {
  const char* given = std::getenv("TRIREME_DEVICE");
  if (given == nullptr || *given == 0) return jobs::DevicePolicy::kAuto;
  const auto policy = from_name<jobs::DevicePolicy>(given);
  if (!policy)
    throw Error(ErrorKind::kUsage, std::string("TRIREME_DEVICE is '") + given + "'", "use auto, cpu or cuda");
  return *policy;
}

int gpu_of(const PlaceOnHost& place, int gpus, const char* visible) {
  if (place.workers > gpus && !place.share_gpus)
    throw Error(
        ErrorKind::kUsage,
        std::to_string(place.workers) + " workers on a host with " + std::to_string(gpus) +
            (gpus == 1 ? " GPU" : " GPUs") +
            (visible == nullptr ? "" : std::string(" that CUDA_VISIBLE_DEVICES ('") + visible + "') leaves"),
        "start at most that many, or share them (`trireme launch --share-gpus`), or compute on the CPU "
        "(TRIREME_DEVICE=cpu)");
  return std::max(place.position, 0) % gpus;
}

DeviceChoice tried(DeviceChoice choice, jobs::DevicePolicy policy) {
  if (choice.device != "cpu")
    if (const std::string fault = health_fault(choice.device); !fault.empty())
      choice = on_cpu("health", choice.device + " " + choice.name + " does not work: " + fault);
  if (policy == jobs::DevicePolicy::kCuda && choice.device == "cpu")
    throw Error(ErrorKind::kUnavailable, "TRIREME_DEVICE is cuda: " + choice.why);
  return choice;
}

DeviceChoice choose_device(const PlaceOnHost& place, jobs::DevicePolicy policy) {
  if (policy == jobs::DevicePolicy::kCpu) return on_cpu("", "TRIREME_DEVICE is cpu");
  return tried(find_device(place), policy);
}

std::string health_fault(const std::string& device) {
  try {
    const at::NoGradGuard no_grad;
    // Whole numbers below 2^24: right or wrong, nothing between.
    const at::Tensor whole =
        at::arange(kTrialSide * kTrialSide, at::kFloat).remainder(13).view({kTrialSide, kTrialSide});
    const at::Tensor there = whole.to(at::Device(device));
    if (!at::equal(there.cpu(), whole)) return "a copy comes back changed";
    if (!at::equal(at::mm(there, there).cpu(), at::mm(whole, whole)))
      return "a matrix product comes out wrong";
    return "";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return text.substr(0, text.find('\n'));
  }
}

std::string device_for_task(jobs::DevicePolicy wanted, const std::string& device, const std::string& why) {
  if (wanted == jobs::DevicePolicy::kCpu) return "cpu";
  if (wanted == jobs::DevicePolicy::kCuda && device == "cpu")
    throw Error(ErrorKind::kInvalid, "the job's device is cuda, and this worker has no GPU: " + why,
                "give it one, or set spec.device to auto");
  return device;
}

void device_fault_point() {
  TORCH_CHECK(!fault_due("device.lost"),
              "CUDA error: an illegal memory access was encountered (fault point device.lost)");
}

std::string driver_version(const std::string& text) {
  // "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build …"
  std::istringstream words(text.substr(0, text.find('\n')));
  for (std::string word; words >> word;)
    if (word.find('.') != std::string::npos && word.find_first_not_of("0123456789.") == std::string::npos)
      return word;
  return "";
}

std::string device_report(const DeviceChoice& choice) {
  std::ostringstream text;
  text << "device: " << choice.device << (choice.name.empty() ? "" : " ") << choice.name << "\n";
  text << "why: " << choice.why << "\n";
  if (!choice.fallback.empty())
    text << "a GPU needs: an NVIDIA driver of " << kLeastDriver
         << " or later, and `./quickstart build` on this "
         << "machine, which installs torch with its CUDA parts and, without a CUDA toolkit, the compiler "
            "(docs/gpu.md)\n";
  text << "torch: " << TORCH_VERSION << " in " << torch_folder().string() << "\n";
  text << "cpu capability: " << at::get_cpu_capability() << "\n";
  return text.str();
}

}  // namespace trireme::worker::runtime
