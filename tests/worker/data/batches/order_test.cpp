#include "worker/data/batches/order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include "common/base/error.h"
#include "common/base/random.h"

namespace trireme::worker::data {
namespace {

std::vector<std::int32_t> first_n(std::int64_t n) {
  std::vector<std::int32_t> kept(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = static_cast<std::int32_t>(i);
  return kept;
}

std::vector<ManifestShard> random_manifest(std::uint64_t seed, double weight = 1) {
  RandomStream random(seed, RandomPurpose::kTest);
  std::vector<ManifestShard> manifest(1 + random.below(40));
  for (std::size_t i = 0; i < manifest.size(); ++i) {
    manifest[i] = {"sha-" + std::to_string(i), static_cast<std::int64_t>(random.below(60)), weight, {}};
    for (std::int32_t s = 0; s < manifest[i].samples; ++s) {
      if (random.uniform() < 0.8) manifest[i].kept.push_back(s);
    }
  }
  return manifest;
}

std::vector<SamplePosition> epoch_of(const SampleOrder& order, std::int64_t epoch) {
  std::vector<SamplePosition> all;
  for (std::int64_t p = 0; p < order.epoch_size(epoch); ++p) all.push_back(order.at(epoch, p));
  return all;
}

TEST(KeyedPermutation, IsABijectionForEverySizeUpTo1000) {
  for (std::uint64_t size = 1; size <= 1000; ++size) {
    std::vector<bool> seen(size);
    for (std::uint64_t i = 0; i < size; ++i) {
      const std::uint64_t image = keyed_permutation(i, size, size * 7919);
      ASSERT_LT(image, size);
      ASSERT_FALSE(seen[image]) << size;
      seen[image] = true;
    }
  }
}

TEST(KeyedPermutation, KeysGiveDifferentPermutationsWithoutPreferredPlaces) {
  std::vector<int> hits(10);
  for (std::uint64_t key = 0; key < 5000; ++key)
    ++hits[keyed_permutation(3, 10, key * 0x9e3779b97f4a7c15ULL)];
  for (const int count : hits) EXPECT_NEAR(count, 500, 120);
}

TEST(SampleOrder, EveryKeptSampleOncePerEpoch) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const auto manifest = random_manifest(seed);
    const SampleOrder order(manifest, seed, static_cast<std::int64_t>(1 + seed % 20));
    std::vector<SamplePosition> expected;
    for (std::size_t shard = 0; shard < manifest.size(); ++shard) {
      for (const std::int32_t sample : manifest[shard].kept)
        expected.push_back({static_cast<std::int64_t>(shard), sample});
    }
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
      auto got = epoch_of(order, epoch);
      std::sort(got.begin(), got.end());
      ASSERT_EQ(got, expected) << "seed " << seed;
    }
  }
}

TEST(SampleOrder, SamplesAreSeenAsOftenAsTheyAreWeighted) {
  const std::vector<float> times{0.0F, 0.25F, 1.0F, 2.5F};
  std::vector<ManifestShard> manifest;
  for (int i = 0; i < 50; ++i)
    manifest.push_back({"s" + std::to_string(i), 6, i % 2 == 0 ? 1.0 : 2.0, {0, 2, 3, 5}, times});
  const SampleOrder order(manifest, 5, 4);
  std::map<std::pair<std::int64_t, std::int64_t>, int> seen;
  constexpr int kEpochs = 40;
  for (std::int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const auto all = epoch_of(order, epoch);
    EXPECT_EQ(all, epoch_of(SampleOrder(manifest, 5, 4), epoch));
    std::map<std::pair<std::int64_t, std::int64_t>, int> now;
    for (const auto& one : all) ++now[{one.shard % 2, one.sample}], ++seen[{one.shard % 2, one.sample}];
    EXPECT_EQ((now[{0, 3}]), 25);      // whole numbers are exact
    EXPECT_EQ((now[{1, 5}]), 25 * 5);  // 2 * 2.5
  }
  const auto mean = [&](std::int64_t weight, std::int64_t sample) {
    return seen[{weight, sample}] / (25.0 * kEpochs);
  };
  EXPECT_EQ(mean(0, 0), 0);
  EXPECT_NEAR(mean(0, 2), 0.25, 0.05);
  EXPECT_NEAR(mean(1, 2), 0.5, 0.06);
  EXPECT_NEAR(mean(0, 5), 2.5, 0.06);
  manifest[0].times[1] = 0.5F;
  EXPECT_NE(SampleOrder(manifest, 5, 4).manifest_hash(), order.manifest_hash());
  manifest[0].times.pop_back();
  EXPECT_THROW(SampleOrder(manifest, 5, 4), Error);
}

TEST(SampleOrder, DiffersByEpochAndSeedAndByNothingElse) {
  std::vector<ManifestShard> manifest;
  for (int i = 0; i < 20; ++i) manifest.push_back({"s" + std::to_string(i), 50, 1, first_n(50)});
  const SampleOrder one(manifest, 5, 4), same(manifest, 5, 4), other(manifest, 6, 4);
  EXPECT_EQ(epoch_of(one, 2), epoch_of(same, 2));
  EXPECT_NE(epoch_of(one, 2), epoch_of(one, 3));
  EXPECT_NE(epoch_of(one, 2), epoch_of(other, 2));
  // Any order of asking, more epochs than are kept, a copy, and threads.
  const auto expected = epoch_of(same, 1);
  for (std::int64_t epoch = 0; epoch < 12; ++epoch) one.epoch_size(epoch);
  const SampleOrder copy = one;
  std::vector<SamplePosition> got(expected.size());
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t p = got.size(); p-- > 0;) {
        if (p % 4 == t) got[p] = (t % 2 ? copy : one).at(1, static_cast<std::int64_t>(p));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(got, expected);
}

TEST(SampleOrder, WindowsHoldTheirShardsOnly) {
  std::vector<ManifestShard> manifest;
  for (int i = 0; i < 12; ++i) manifest.push_back({"s" + std::to_string(i), 10, 1, first_n(10)});
  const SampleOrder order(manifest, 1, 3);
  const auto all = epoch_of(order, 0);
  std::set<std::int64_t> seen;
  for (std::size_t window = 0; window < 4; ++window) {
    std::set<std::int64_t> shards;
    for (std::size_t i = 0; i < 30; ++i) shards.insert(all[window * 30 + i].shard);
    EXPECT_EQ(shards.size(), 3U);
    seen.insert(shards.begin(), shards.end());
  }
  EXPECT_EQ(seen.size(), 12U);
}

TEST(SampleOrder, WeightsAreCopiesAndTheFractionIsDrawnPerSampleAndEpoch) {
  const std::vector<ManifestShard> manifest{{"a", 1000, 2.25, first_n(1000)},
                                            {"b", 1000, 0.5, first_n(1000)}};
  const SampleOrder order(manifest, 3);
  double extra = 0, half = 0;
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    std::map<SamplePosition, int> times;
    for (const auto& position : epoch_of(order, epoch)) ++times[position];
    for (std::int64_t s = 0; s < 1000; ++s) {
      const int a = times[{0, s}], b = times[{1, s}];
      ASSERT_TRUE(a == 2 || a == 3);
      ASSERT_TRUE(b == 0 || b == 1);
      extra += a - 2;
      half += b;
    }
  }
  EXPECT_NEAR(extra / 4000, 0.25, 0.03);
  EXPECT_NEAR(half / 4000, 0.5, 0.03);
  EXPECT_NE(order.epoch_size(0), order.epoch_size(1));
}

TEST(SampleOrder, EmptyManifestsAndShardsHaveNoPositions) {
  EXPECT_EQ(SampleOrder({}, 1).epoch_size(0), 0);
  EXPECT_EQ(SampleOrder({{"a", 5, 1, {}}}, 1).epoch_size(0), 0);
  EXPECT_THROW(SampleOrder({{"a", 5, 1, {0}}}, 1).at(0, 1), Error);
  EXPECT_THROW(SampleOrder({{"a", 5, 1, {5}}}, 1), Error);
  EXPECT_THROW(SampleOrder({{"a", 5, -1, {0}}}, 1), Error);
}

TEST(SampleOrder, ManifestHashCoversEveryPart) {
  const std::vector<ManifestShard> base{{"a", 5, 1, {0, 1}}, {"b", 5, 1, {2}}};
  std::set<std::string> hashes{SampleOrder(base, 1).manifest_hash()};
  EXPECT_EQ(SampleOrder(base, 2).manifest_hash(), *hashes.begin());
  for (int change = 0; change < 5; ++change) {
    auto manifest = base;
    if (change == 0) manifest[0].sha256 = "c";
    if (change == 1) manifest[0].samples = 6;
    if (change == 2) manifest[0].weight = 2;
    if (change == 3) manifest[0].kept = {0, 2};
    if (change == 4) std::swap(manifest[0], manifest[1]);
    hashes.insert(SampleOrder(manifest, 1).manifest_hash());
  }
  EXPECT_EQ(hashes.size(), 6U);
  EXPECT_EQ(hashes.begin()->size(), 32U);
}

TEST(SampleOrder, TheLastStepOfAnEpochMayBeShort) {
  EXPECT_EQ(steps_per_epoch(10, 4), 3);
  EXPECT_EQ(steps_per_epoch(8, 4), 2);
  EXPECT_EQ(steps_per_epoch(0, 4), 0);
}

}  // namespace
}  // namespace trireme::worker::data
