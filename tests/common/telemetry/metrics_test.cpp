#include "common/telemetry/metrics.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>

#include "common/base/error.h"
#include "common/telemetry/catalog.h"

namespace trireme::telemetry {
namespace {

TEST(Catalog, NamesFollowTheRules) {
  std::set<std::string_view> seen;
  for (const auto& info : catalog()) {
    EXPECT_TRUE(seen.insert(info.name).second) << info.name << " is there twice";
    EXPECT_TRUE(info.name.starts_with("trireme_")) << info.name;
    EXPECT_EQ(info.name.ends_with("_total"), info.type == MetricType::kCounter) << info.name;
    EXPECT_FALSE(info.help.empty()) << info.name;
    EXPECT_EQ(info.buckets.empty(), info.type != MetricType::kHistogram) << info.name;
    for (const auto label : info.labels) EXPECT_NE(label, "rank") << "rank is a constant label";
  }
}

TEST(Metrics, ServesWhatWasCounted) {
  Metrics metrics("", 0, {{"rank", "2"}});
  metrics.count("trireme_train_steps_total", 3);
  metrics.set("trireme_train_loss", 1.5);
  metrics.observe("trireme_train_step_duration_seconds", 0.2, {{"phase", "total"}});
  const std::string text = metrics.exposition();
  EXPECT_NE(text.find("trireme_train_steps_total{rank=\"2\"} 3"), std::string::npos) << text;
  EXPECT_NE(text.find("trireme_train_loss{rank=\"2\"} 1.5"), std::string::npos);
  EXPECT_NE(text.find("trireme_train_step_duration_seconds_count{rank=\"2\",phase=\"total\"} 1"),
            std::string::npos);
}

TEST(Metrics, RefusesWhatTheCatalogDoesNotKnow) {
  Metrics metrics("", 0);
  EXPECT_THROW(metrics.count("trireme_nonsense_total"), Error);
  EXPECT_THROW(metrics.set("trireme_train_steps_total", 1), Error);
  EXPECT_THROW(metrics.count("trireme_samples_total", 1, {{"stage", "filter"}}), Error);
  EXPECT_THROW(metrics.count("trireme_train_steps_total", 1, {{"shard", "7"}}), Error);
}

TEST(Metrics, ATakenPortIsAConflict) {
  const Metrics first("127.0.0.1", 0);
  ASSERT_GT(first.port(), 0);
  EXPECT_THROW(Metrics("127.0.0.1", first.port()), Error);
}

// A process leaves when its work is done: it does not wait for its exporter.
TEST(Metrics, EndsAtOnce) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 5; ++i) const Metrics metrics("127.0.0.1", 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(500));
}

}  // namespace
}  // namespace trireme::telemetry
