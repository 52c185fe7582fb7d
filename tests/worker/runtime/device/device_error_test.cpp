#include "worker/runtime/device/device_error.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace trireme::worker::runtime {
namespace {

struct Case {
  std::string text;
  Culprit culprit;
  bool gone = false;
};

void judge(const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    const DeviceError error = device_error(one.text);
    EXPECT_EQ(static_cast<int>(error.culprit), static_cast<int>(one.culprit)) << one.text;
    EXPECT_EQ(error.gone, one.gone) << one.text;
  }
}

// Words of cudaGetErrorString, CUDA 13.0, as torch's AcceleratorError puts them.
TEST(DeviceError, CudaSaysWhetherItIsTheDevice) {
  std::vector<Case> cases;
  for (const char* words : {"initialization error",
                            "driver shutting down",
                            "CUDA-capable device(s) is/are busy or unavailable",
                            "unspecified launch failure in prior launch",
                            "no CUDA-capable device is detected",
                            "invalid device ordinal",
                            "uncorrectable ECC error encountered",
                            "uncorrectable NVLink error detected during the execution",
                            "Invalid access of peer GPU memory over nvlink or a hardware error",
                            "an illegal memory access was encountered",
                            "the launch timed out and was terminated",
                            "context is destroyed",
                            "hardware stack error",
                            "an illegal instruction was encountered",
                            "misaligned address",
                            "operation not supported on global/shared address space",
                            "invalid program counter",
                            "unspecified launch failure",
                            "tensor memory not completely freed",
                            "system not yet initialized",
                            "the MPS client has been terminated by the server",
                            "unknown error",
                            "CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle, opa, opb)`"})
    cases.push_back({std::string("CUDA error: ") + words +
                         "\nSearch for `cudaError' in https://docs.nvidia.com/cuda/ for more information.",
                     Culprit::kDevice, true});
  for (const char* words :
       {"invalid argument", "invalid configuration argument", "invalid device function",
        "no kernel image is available for execution on the device", "invalid resource handle",
        "too many resources requested for launch", "operation not permitted", "operation not supported",
        "operation not permitted when stream is capturing",
        "operation failed due to a previous error during capture",
        "the provided PTX was compiled with an unsupported toolchain.",
        "peer access is not supported between these two devices",
        "CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm( handle, opa, opb)`",
        "CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx( handle, opa, opb)`"})
    cases.push_back({std::string("train: CUDA error: ") + words, Culprit::kProgram});
  judge(cases);
}

// Its index was wrong on every device, and this process can compute nothing more there.
TEST(DeviceError, AnAssertionOfAKernelIsTheProgramsAndTakesTheContextWithIt) {
  judge({{"train: CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously",
          Culprit::kProgram, true},
         {"all_reduce_sum at rank 1 (nccl): CUDA: CUDA error: device-side assert triggered",
          Culprit::kProgram, true}});
}

TEST(DeviceError, MemoryIsNobodysLoss) {
  judge({{"CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139.81 GiB",
          Culprit::kMemory},
         {"CUDA error: out of memory", Culprit::kMemory},
         {"CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", Culprit::kMemory},
         {"CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", Culprit::kMemory},
         {"cuDNN error: CUDNN_STATUS_ALLOC_FAILED", Culprit::kMemory},
         {"cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", Culprit::kMemory}});
}

TEST(DeviceError, LibrariesSpeakForTheDevice) {
  judge({{"cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDART", Culprit::kDevice, true},
         {"cuDNN error: CUDNN_STATUS_MAPPING_ERROR", Culprit::kDevice, true},
         {"cuDNN error: CUDNN_STATUS_BAD_PARAM_NULL_POINTER", Culprit::kProgram},
         {"cuDNN error: CUDNN_STATUS_NOT_SUPPORTED", Culprit::kProgram},
         {"CUDA driver error: an illegal memory access was encountered", Culprit::kDevice, true},
         {"CUDA driver error: invalid argument", Culprit::kProgram}});
}

// Words of ncclGetErrorString, NCCL 2.28, in the errors of the group (stream_group.cpp, nccl_calls.cpp); what
// ncclGetLastError has said stands behind them.
TEST(DeviceError, NcclSaysWhetherItIsThisDeviceOrAPeer) {
  const std::string here = "all_reduce_sum at rank 1 (nccl): NCCL: ",
                    cuda = here + "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
  judge(
      {{cuda, Culprit::kDevice, true},
       {cuda + ": Cuda failure 700 'an illegal memory access was encountered'", Culprit::kDevice, true},
       {cuda + ": Cuda failure 'uncorrectable ECC error encountered'", Culprit::kDevice, true},
       {cuda + ": enqueue.cc:1452 Cuda failure 2 'out of memory'", Culprit::kMemory},
       {cuda + ": Cuda failure 1 'invalid argument'", Culprit::kProgram},
       {cuda + ": Cuda failure 710 'device-side assert triggered'", Culprit::kProgram, true},
       {here + "unhandled system error (run with NCCL_DEBUG=INFO for details): Call to ibv_modify_qp failed",
        Culprit::kPeer},
       {here + "remote process exited or there was a network error", Culprit::kPeer},
       {here + "internal error - please report this issue to the NCCL developers", Culprit::kPeer},
       {here + "invalid argument (run with NCCL_DEBUG=WARN for details)", Culprit::kProgram},
       {here + "invalid usage (run with NCCL_DEBUG=WARN for details)", Culprit::kProgram},
       {"all_reduce_sum at rank 0 (nccl): CUDA: CUDA error: unspecified launch failure", Culprit::kDevice,
        true}});
}

TEST(DeviceError, OtherWordsAreNobodys) {
  judge({{"", Culprit::kNobody},
         {"a picture is bad", Culprit::kNobody},
         {"all_gather at rank 0 (nccl): a peer did not come within 60000 ms", Culprit::kNobody},
         {"DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes", Culprit::kNobody},
         {"invalid argument", Culprit::kNobody},
         {"CUDA error: ", Culprit::kNobody}});
}

}  // namespace
}  // namespace trireme::worker::runtime
