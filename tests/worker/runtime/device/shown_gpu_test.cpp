#include "worker/runtime/device/shown_gpu.h"

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace trireme::worker::runtime {
namespace {

io::Gpu gpu(int number) {
  return {number, "0000:" + std::to_string(number) + "1:00.0", "NVIDIA H200",
          "GPU-" + std::to_string(number)};
}

TEST(ShownGpu, NamesThePhysicalOneWhereItCanBeKnown) {
  const io::VisibleGpus two{{gpu(3), gpu(1)}, false, ""};
  auto shown = shown_gpu(0, 2, two, "3,1", "PCI_BUS_ID");
  EXPECT_EQ(shown.name, "NVIDIA H200");
  EXPECT_EQ(
      shown.words,
      "GPU 0 of 2 that CUDA_VISIBLE_DEVICES ('3,1') leaves: number 3 of this machine, 0000:31:00.0, GPU-3");
  shown = shown_gpu(1, 2, two, "3,1", "PCI_BUS_ID");
  EXPECT_NE(shown.words.find("number 1 of this machine, 0000:11:00.0"), std::string::npos) << shown.words;
  shown = shown_gpu(0, 1, {{gpu(0)}, false, ""}, nullptr, "PCI_BUS_ID");
  EXPECT_EQ(shown.words, "GPU 0 of 1: number 0 of this machine, 0000:01:00.0, GPU-0");
}

TEST(ShownGpu, NamesNoneWhereItCannotBeKnown) {
  const io::VisibleGpus two{{gpu(0), gpu(1)}, false, ""};
  for (const auto& [count, order] : {std::pair{2, "FASTEST_FIRST"}, std::pair{1, "PCI_BUS_ID"}}) {
    const auto shown = shown_gpu(0, count, two, nullptr, order);
    EXPECT_EQ(shown.name, "");
    EXPECT_EQ(shown.words, "GPU 0 of " + std::to_string(count));
  }
}

TEST(ShownGpu, SaysWhatIsMissingOfTheList) {
  const auto shown =
      shown_gpu(0, 1, {{gpu(1)}, false, "'7' is none of this machine's 4 GPUs"}, "1,7,0", "PCI_BUS_ID");
  EXPECT_NE(shown.words.find("('1,7,0') leaves ('7' is none of this machine's 4 GPUs): number 1 of"),
            std::string::npos)
      << shown.words;
}

TEST(ShownGpu, AWorkerTakesTheInstanceOfItsPlace) {
  const io::VisibleGpus three{
      {{-1, "", "", "MIG-a"}, {-1, "", "", "MIG-b"}, {-1, "", "", "MIG-c"}}, true, ""};
  const char* const given = "MIG-a,MIG-b,MIG-c";
  for (int place = 0; place < 3; ++place)
    EXPECT_EQ(own_instance({place, 3}, three, given), three.gpus[static_cast<std::size_t>(place)].uuid);
  EXPECT_EQ(own_instance({3, 4, true}, three, given), "MIG-a") << "shared";
  EXPECT_EQ(own_instance({0, 1}, {{gpu(0)}, false, ""}, "0"), "") << "no instances";
  try {
    own_instance({0, 4}, three, given);
    ADD_FAILURE() << "taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_NE(std::string(error.what())
                  .find("4 workers on a host with 3 GPUs that CUDA_VISIBLE_DEVICES "
                        "('MIG-a,MIG-b,MIG-c') leaves"),
              std::string::npos)
        << error.what();
  }
  const auto shown = shown_gpu(0, 1, {{{-1, "", "", "MIG-b"}}, true, ""}, given, "PCI_BUS_ID");
  EXPECT_NE(shown.words.find(": instance MIG-b"), std::string::npos) << shown.words;
}

}  // namespace
}  // namespace trireme::worker::runtime
