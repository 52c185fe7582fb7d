#include "worker/runtime/device/device.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <string>

#include "common/base/error.h"
#include "tests/worker/support/recorded_device.h"

namespace trireme::worker::runtime {
namespace {

using jobs::DevicePolicy;

ErrorKind kind_of(const std::function<void()>& body, std::string& what) {
  try {
    body();
  } catch (const Error& error) {
    what = error.what();
    return error.kind();
  }
  return ErrorKind::kInternal;
}

TEST(Device, SaysWhichCaseAndWhy) {
  const DeviceChoice choice = choose_device({}, DevicePolicy::kAuto);
  EXPECT_FALSE(choice.why.empty());
  EXPECT_TRUE(choice.device == "cpu" || choice.device.rfind("cuda:", 0) == 0);
  EXPECT_NE(device_report(choice).find(choice.why), std::string::npos);
}

TEST(Device, CpuIsTakenWhereItIsAskedFor) {
  const DeviceChoice choice = choose_device({}, DevicePolicy::kCpu);
  EXPECT_EQ(choice.device, "cpu");
  EXPECT_EQ(choice.fallback, "") << "nothing was to be had";
}

TEST(Device, AGpuThatIsDemandedAndMissingIsAFaultByName) {
  if (choose_device({}, DevicePolicy::kAuto).device != "cpu") GTEST_SKIP() << "this machine has a GPU";
  std::string what;
  EXPECT_EQ(kind_of([] { choose_device({}, DevicePolicy::kCuda); }, what), ErrorKind::kUnavailable);
  EXPECT_NE(what.find("TRIREME_DEVICE is cuda"), std::string::npos) << what;
}

TEST(Device, ATasksDeviceIsThatOfItsJob) {
  EXPECT_EQ(device_for_task(DevicePolicy::kAuto, "cuda:1", ""), "cuda:1");
  EXPECT_EQ(device_for_task(DevicePolicy::kAuto, "cpu", "no driver"), "cpu");
  EXPECT_EQ(device_for_task(DevicePolicy::kCpu, "cuda:1", ""), "cpu");
  EXPECT_EQ(device_for_task(DevicePolicy::kCuda, "cuda:1", ""), "cuda:1");
  std::string what;
  EXPECT_EQ(kind_of([] { device_for_task(DevicePolicy::kCuda, "cpu", "no driver"); }, what),
            ErrorKind::kInvalid);
  EXPECT_NE(what.find("no driver"), std::string::npos) << what;
}

TEST(Device, TheEnvironmentSaysWhich) {
  const auto given = [](const char* value) {
    ::setenv("TRIREME_DEVICE", value, 1);
    return device_policy_of_environment();
  };
  EXPECT_EQ(given("cuda"), DevicePolicy::kCuda);
  EXPECT_EQ(given("cpu"), DevicePolicy::kCpu);
  EXPECT_EQ(given(""), DevicePolicy::kAuto);
  std::string what;
  EXPECT_EQ(kind_of([&] { given("gpu"); }, what), ErrorKind::kUsage);
  ::unsetenv("TRIREME_DEVICE");
  EXPECT_EQ(device_policy_of_environment(), DevicePolicy::kAuto);
}

TEST(Device, AHealthyDeviceHasNoFaultAndAMissingOneHas) {
  EXPECT_EQ(health_fault("cpu"), "");
  if (choose_device({}, DevicePolicy::kAuto).device == "cpu") {
    EXPECT_NE(health_fault("cuda:0"), "");
  }
}

TEST(Device, OneWithoutMemoryOrThatIsWrongHasAFaultByName) {
  auto& faults = recorded::faults();
  const std::string device = recorded::device().str();
  EXPECT_EQ(health_fault(device), "");
  faults.no_memory = true;
  EXPECT_NE(health_fault(device).find("out of memory"), std::string::npos) << health_fault(device);
  faults.no_memory = false;
  faults.wrong_copies = true;
  EXPECT_EQ(health_fault(device), "a copy comes back changed");
  faults.wrong_copies = false;
  faults.wrong_products = true;
  EXPECT_EQ(health_fault(device), "a matrix product comes out wrong");
  faults.wrong_products = false;
}

TEST(Device, OneThatDoesNotWorkLeavesTheCpuOrStops) {
  const DeviceChoice found{recorded::device().str(), "NVIDIA H200", "GPU 0 of 1", ""};
  EXPECT_EQ(tried(found, DevicePolicy::kCuda).device, found.device);
  recorded::faults().no_memory = true;
  const DeviceChoice left = tried(found, DevicePolicy::kAuto);
  EXPECT_EQ(left.device, "cpu");
  EXPECT_EQ(left.fallback, "health");
  EXPECT_NE(left.why.find("NVIDIA H200 does not work: CUDA out of memory"), std::string::npos) << left.why;
  std::string what;
  EXPECT_EQ(kind_of([&] { tried(found, DevicePolicy::kCuda); }, what), ErrorKind::kUnavailable);
  EXPECT_NE(what.find("TRIREME_DEVICE is cuda: "), std::string::npos) << what;
  recorded::faults().no_memory = false;
}

TEST(Device, ThePlaceOnTheHostIsTheGpu) {
  for (int place = 0; place < 4; ++place) EXPECT_EQ(gpu_of({place, 4}, 4), place);
  EXPECT_EQ(gpu_of({1, 2}, 8), 1) << "fewer workers than GPUs";
}

TEST(Device, MoreWorkersThanGpusAreRefusedUnlessTheyShare) {
  std::string what;
  EXPECT_EQ(kind_of([] { gpu_of({0, 3}, 2); }, what), ErrorKind::kUsage);
  EXPECT_NE(what.find("3 workers on a host with 2 GPUs"), std::string::npos) << what;
  EXPECT_EQ(kind_of([] { gpu_of({1, 2}, 1); }, what), ErrorKind::kUsage);
  EXPECT_NE(what.find("2 workers on a host with 1 GPU"), std::string::npos) << what;
  EXPECT_EQ(kind_of([] { gpu_of({0, 3}, 2, "5,1"); }, what), ErrorKind::kUsage);
  EXPECT_NE(what.find("with 2 GPUs that CUDA_VISIBLE_DEVICES ('5,1') leaves"), std::string::npos) << what;
  for (int place = 0; place < 3; ++place) EXPECT_EQ(gpu_of({place, 3, true}, 2), place % 2);
}

TEST(Device, DriversSayTheirVersion) {
  EXPECT_EQ(
      driver_version("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n"
                     "GCC version:  gcc version 12.2.0\n"),
      "580.65.06");
  EXPECT_EQ(driver_version("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\n"),
            "535.183.01");
  EXPECT_EQ(driver_version(""), "");
}

}  // namespace
}  // namespace trireme::worker::runtime
