#include "worker/runtime/device/device_error.h"

#include <array>
#include <cctype>
#include <string_view>
#include <utility>

namespace trireme::worker::runtime {
namespace {

using Words = std::string_view;

// After which CUDA answers everything with the same error until the process ends (driver API, CUresult), or
// which say that there is no such GPU any more.
constexpr std::array kDeviceGone = {
    Words{"initialization error"},
    Words{"driver shutting down"},
    Words{"CUDA-capable device(s) is/are busy or unavailable"},
    Words{"no CUDA-capable device is detected"},
    Words{"invalid device ordinal"},  // it was there at start
    Words{"device doesn't have valid Grid license"},
    Words{"integrity checks failed"},
    Words{"startup failure in cuda runtime"},
    Words{"invalid device context"},
    Words{"uncorrectable ECC error encountered"},
    Words{"exclusive-thread device already in use"},
    Words{"uncorrectable NVLink error"},
    Words{"Invalid access of peer GPU memory over nvlink or a hardware error"},
    Words{"OS call failed"},
    Words{"an illegal memory access was encountered"},
    Words{"the launch timed out and was terminated"},
    Words{"context is destroyed"},
    Words{"hardware stack error"},
    Words{"an illegal instruction was encountered"},
    Words{"misaligned address"},
    Words{"operation not supported on global/shared address space"},
    Words{"invalid program counter"},
    Words{"unspecified launch failure"},
    Words{"tensor memory not completely freed"},
    Words{"system not yet initialized"},  // the fabric's manager has gone
    Words{"system has unsupported display driver"},
    Words{"MPS client failed to connect"},
    Words{"the remote procedural call between the MPS server"},
    Words{"MPS server is not ready"},
    Words{"the MPS client has been terminated"},
    Words{"an async error has occured in external entity"},  // sic
    Words{"unknown error"},
    // Of libraries, which say no more of what they met.
    Words{"CUBLAS_STATUS_EXECUTION_FAILED"},
    Words{"CUBLAS_STATUS_MAPPING_ERROR"},
    Words{"CUBLAS_STATUS_INTERNAL_ERROR"},
    Words{"CUDNN_STATUS_EXECUTION_FAILED"},
    Words{"CUDNN_STATUS_MAPPING_ERROR"},
};

constexpr std::array kTooLittle = {
    Words{"out of memory"},
    Words{"CUBLAS_STATUS_ALLOC_FAILED"},
    Words{"CUBLAS_STATUS_NOT_INITIALIZED"},  // its workspace found no room
    Words{"CUDNN_STATUS_ALLOC_FAILED"},
    Words{"CUDNN_STATUS_NOT_INITIALIZED"},
    Words{"CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"},
    Words{"CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"},
};

constexpr std::array kOfPeers = {
    Words{"unhandled system error"},  // a socket, shared memory, a HCA
    Words{"remote process exited or there was a network error"},
    Words{"internal error - please report this issue to the NCCL developers"},  // what its proxies say
};

template <std::size_t n>
bool begins_with_one(Words words, const std::array<Words, n>& table) {
  for (const Words one : table)
    if (words.substr(0, one.size()) == one) return true;
  return false;
}

// What CUDA or a library of its says: the words behind the prefix.
DeviceError of_cuda(Words words) {
  if (begins_with_one(words, kTooLittle)) return {Culprit::kMemory, false};
  if (begins_with_one(words, std::array{Words{"device-side assert triggered"}}))
    return {Culprit::kProgram, true};
  if (begins_with_one(words, kDeviceGone)) return {Culprit::kDevice, true};
  return {Culprit::kProgram, false};
}

// The words behind `prefix`, empty where it is not in the text.
Words behind(Words text, Words prefix) {
  const std::size_t at = text.find(prefix);
  return at == Words::npos ? Words{} : text.substr(at + prefix.size());
}

// "NCCL: unhandled cuda error (…)" with NCCL's last words behind it: "Cuda failure 700 'an illegal …'".
DeviceError of_nccl(Words text) {
  Words detail = behind(text, "Cuda failure ");
  while (!detail.empty() && (std::isdigit(static_cast<unsigned char>(detail.front())) != 0 ||
                             detail.front() == ' ' || detail.front() == '\''))
    detail.remove_prefix(1);
  return detail.empty() ? DeviceError{Culprit::kDevice, true} : of_cuda(detail);
}

}  // namespace

DeviceError device_error(const std::string& text) {
  for (const Words prefix : {"CUDA error: ", "CUDA driver error: ", "cuDNN error: "})
    if (const Words words = behind(text, prefix); !words.empty()) return of_cuda(words);
  if (text.find("CUDA out of memory") != std::string::npos) return {Culprit::kMemory, false};
  if (text.find("unhandled cuda error") != std::string::npos) return of_nccl(text);
  for (const Words words : kOfPeers)
    if (text.find(words) != std::string::npos) return {Culprit::kPeer, false};
  for (const Words words : {"invalid argument (run with NCCL_DEBUG", "invalid usage (run with NCCL_DEBUG"})
    if (text.find(words) != std::string::npos) return {Culprit::kProgram, false};
  return {};
}

}  // namespace trireme::worker::runtime
