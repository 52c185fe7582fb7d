#include "worker/runtime/device/device_parts.h"

#include <gtest/gtest.h>

#include "common/telemetry/metrics.h"

namespace trireme::worker::runtime {
namespace {

// The lines of trireme_device_fallback, and what was said beside them.
struct Told {
  std::string metrics, log;
  bool counts(const std::string& reason) const {
    return metrics.find("trireme_device_fallback{reason=\"" + reason + "\"} 1\n") != std::string::npos;
  }
  bool counts_nothing() const { return metrics.find("trireme_device_fallback{") == std::string::npos; }
};

Told told(const DeviceChoice& choice, const DeviceParts& parts) {
  telemetry::Metrics metrics("", 0);
  ::testing::internal::CaptureStderr();
  tell_what_is_missing(choice, parts, metrics);
  return {metrics.exposition(), ::testing::internal::GetCapturedStderr()};
}

TEST(DeviceParts, AGpuWithAllItsPartsIsSilent) {
  const Told all = told({"cuda:0", "H200", "GPU 0 of 1", ""}, {"", true});
  EXPECT_TRUE(all.counts_nothing()) << all.metrics;
  EXPECT_EQ(all.log, "");
}

TEST(DeviceParts, TheComposedLossIsSaidAndCounted) {
  const Told composed = told({"cuda:0", "H200", "GPU 0 of 1", ""}, {"", false});
  EXPECT_TRUE(composed.counts("kernels")) << composed.metrics;
  EXPECT_FALSE(composed.counts("plugin")) << composed.metrics;
  EXPECT_NE(composed.log.find("torch's own operations compute it"), std::string::npos) << composed.log;
}

TEST(DeviceParts, AMissingPluginIsSaidWithItsReason) {
  const Told alone = told({"cuda:0", "H200", "GPU 0 of 1", ""}, {"built with torch 2.10.0", false});
  EXPECT_TRUE(alone.counts("plugin") && alone.counts("kernels")) << alone.metrics;
  EXPECT_NE(alone.log.find("built with torch 2.10.0"), std::string::npos) << alone.log;
}

TEST(DeviceParts, OnTheCpuOnlyTheUnusedGpuCounts) {
  const Told plain = told({"cpu", "", "no NVIDIA driver", ""}, {"", false});
  EXPECT_TRUE(plain.counts_nothing()) << plain.metrics;
  EXPECT_EQ(plain.log, "");
  const Told unused = told({"cpu", "", "the NVIDIA driver is 535", "driver"}, {"", false});
  EXPECT_TRUE(unused.counts("driver")) << unused.metrics;
  EXPECT_FALSE(unused.counts("kernels")) << unused.metrics;
  EXPECT_NE(unused.log.find("the NVIDIA driver is 535"), std::string::npos) << unused.log;
}

}  // namespace
}  // namespace trireme::worker::runtime
