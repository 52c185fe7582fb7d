// Pairs by cosine against comparing everything with everything in float64, for any split; bounded by tiles.
// By lists the same, where they are measured to find all, and no more than they promise where not.
#include "worker/stages/near_duplicates/near_embeddings.h"

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/random.h"
#include "worker/checkpoint/features.h"
#include "worker/stages/near_duplicates/near_lists.h"

namespace trireme::worker::stages::near_duplicates {
namespace {

constexpr std::int64_t kWidth = 24;
using Rows = std::vector<std::vector<float>>;

// Directions of all lengths; half of them an earlier one with some noise, or exactly.
Rows some_rows(std::size_t count, std::uint64_t seed) {
  RandomStream random(seed, RandomPurpose::kTest);
  Rows rows;
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<float> row(kWidth);
    const bool copy = i > 0 && random.below(2) == 0;
    if (copy) row = rows[random.below(i)];
    const double noise = copy ? 0.15 * random.uniform(0, 1) * static_cast<double>(random.below(3)) : 1;
    const double scale = copy ? random.uniform(0.5, 2) : 1;
    for (auto& value : row) value = static_cast<float>(scale * (value + noise * random.uniform(-1, 1)));
    rows.push_back(std::move(row));
  }
  return rows;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += double{a[i]} * double{b[i]};
    aa += double{a[i]} * double{a[i]};
    bb += double{b[i]} * double{b[i]};
  }
  return ab / std::sqrt(aa * bb);
}

class NearEmbeddingsTest : public ::testing::Test {
 protected:
  NearEmbeddingsTest() { std::filesystem::create_directories(folder_); }
  ~NearEmbeddingsTest() override { std::filesystem::remove_all(folder_); }

  // The first `in_test` rows are a test set.
  std::vector<data::RangeOfSamples> write(const Rows& rows, std::size_t step, std::size_t in_test) {
    std::vector<data::RangeOfSamples> ranges;
    for (std::size_t from = 0; from < rows.size(); from += step) {
      checkpoint::Features features;
      const std::size_t to = std::min(rows.size(), from + step);
      features.space = "tower";
      features.image = at::empty({static_cast<std::int64_t>(to - from), kWidth}, at::kFloat);
      std::vector<std::int64_t> sample;
      for (std::size_t i = from; i < to; ++i) {
        std::copy(rows[i].begin(), rows[i].end(),
                  features.image.data_ptr<float>() + static_cast<std::int64_t>(i - from) * kWidth);
        sample.push_back(static_cast<std::int64_t>(i));
      }
      features.sample = at::tensor(sample, at::kLong);
      ranges.push_back(
          {(folder_ / (std::to_string(step) + "-" + std::to_string(from) + ".features.safetensors")).string(),
           from < in_test ? "test" : "train", 0});
      checkpoint::write_features(ranges.back().path, features);
    }
    return ranges;
  }

  std::string clusters(const std::vector<data::RangeOfSamples>& ranges, double least, std::int64_t partitions,
                       const std::string& lists = "") {
    const NearEmbeddings samples(ranges, least, lists);
    std::vector<std::string> files;
    most_pairs_ = 0;
    for (std::int64_t p = 0; p < partitions; ++p) {
      files.push_back((folder_ / ("pairs" + std::to_string(p))).string());
      most_pairs_ = std::max(most_pairs_, data::write_near_pairs(
                                              samples, p, partitions, [] {}, files.back()));
    }
    counts_ = data::write_near_clusters(samples, ranges, files, "embedding", folder_ / "clusters");
    return io::read_file(folder_ / "clusters");
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("trireme-embeddings-" + std::to_string(::getpid()));
  data::ClusterCounts counts_;
  std::int64_t most_pairs_ = 0;
};

TEST_F(NearEmbeddingsTest, ConnectedImagesForAnySplit) {
  const Rows rows = some_rows(2300, 3);  // three tiles, the last one not full
  for (const double least : {0.9, 0.99}) {
    data::DisjointSets expected(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (std::size_t j = i + 1; j < rows.size(); ++j)
        if (cosine(rows[i], rows[j]) + 1e-9 >= least) expected.join(i, j);
    const std::string bytes = clusters(write(rows, 2300, 0), least, 1);
    EXPECT_EQ(clusters(write(rows, 500, 0), least, 4), bytes);
    EXPECT_EQ(clusters(write(rows, 333, 0), least, 9), bytes);  // more than there are pairs of tiles
    EXPECT_NE(bytes.find("\"reason\":\"embedding\""), std::string::npos);
    const data::NearClusters found({(folder_ / "clusters").string()});
    std::int64_t copies = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto kept = found.kept_for("embedding", "train/0/" + std::to_string(i));
      const auto root = expected.root(i);
      ASSERT_EQ(kept.has_value(), root != i) << i << " at " << least;
      if (!kept) continue;
      ++copies;
      EXPECT_EQ(kept->place, "train/0/" + std::to_string(root));
      EXPECT_EQ(kept->by, "embedding");
      EXPECT_NEAR(kept->measure, cosine(rows[i], rows[root]), 1e-6);
    }
    EXPECT_EQ(counts_.copies, copies);
    EXPECT_GT(copies, 300);
  }
}

// The clusters without the head of their file.
std::string body(const std::string& bytes) {
  return bytes.substr(bytes.find('\n'));
}

TEST_F(NearEmbeddingsTest, ListsThatFindAllGiveTheSame) {
  Rows rows = some_rows(480, 3);  // all of them are held back, so that a recall of 1 is that of every pair
  rows[7].assign(kWidth, 0);
  rows[9][0] = std::numeric_limits<float>::quiet_NaN();
  const auto ranges = write(rows, 100, 0);
  const std::string lists = (folder_ / "lists").string();
  for (const double least : {0.9, 0.99}) {
    const auto promise = write_near_lists(
        NearEmbeddings(ranges, least), 1, [] {}, lists);
    EXPECT_EQ(promise.recall, 1);
    EXPECT_GE(promise.pairs, 100);
    EXPECT_LT(promise.probes, 44);  // of 44 lists
    const std::string exact = clusters(ranges, least, 1);
    for (const std::int64_t partitions : {1, 3}) {
      const std::string by_lists = clusters(ranges, least, partitions, lists);
      EXPECT_EQ(body(by_lists), body(exact)) << least;
      EXPECT_NE(by_lists.find("\"recall\":1.0}"), std::string::npos);
    }
    EXPECT_EQ(exact.find("recall"), std::string::npos);
    EXPECT_GT(counts_.copies, 50);
  }
}

TEST_F(NearEmbeddingsTest, FewerListsFindFewerAndSaySo) {
  const auto ranges = write(some_rows(2300, 5), 1000, 0);
  const std::string lists = (folder_ / "lists").string();
  const NearEmbeddings images(ranges, 0.9);
  const auto all = write_near_lists(
      images, 1, [] {}, lists);
  clusters(ranges, 0.9, 2, lists);
  const auto whole = counts_.copies;
  const auto some = write_near_lists(
      images, 0.6, [] {}, lists);
  EXPECT_LT(some.probes, all.probes);
  EXPECT_GE(some.recall, 0.6);
  EXPECT_LT(some.recall, 1);
  clusters(ranges, 0.9, 2, lists);
  EXPECT_LE(counts_.copies, whole);
  EXPECT_GT(static_cast<double>(counts_.copies), 0.6 * static_cast<double>(whole));
  EXPECT_NEAR(*NearEmbeddings(ranges, 0.9, lists).recall(), some.recall, 1e-6);
  write_no_lists(lists);
  EXPECT_FALSE(NearEmbeddings(ranges, 0.9, lists).recall());
}

TEST_F(NearEmbeddingsTest, TestImagesAreKeptAndFound) {
  const Rows rows = some_rows(400, 8);
  clusters(write(rows, 100, 200), 0.95, 2);
  const data::NearClusters found({(folder_ / "clusters").string()});
  std::int64_t matched = 0;
  for (std::size_t i = 200; i < 400; ++i) {
    bool near = false;  // directly; over several steps there are more
    for (std::size_t j = 0; j < 200; ++j) near = near || cosine(rows[i], rows[j]) >= 0.95;
    const auto match = found.match_in("train/0/" + std::to_string(i), {"test"});
    EXPECT_TRUE(match || !near) << i;
    if (!match) continue;
    ++matched;
    EXPECT_EQ(match->place.rfind("test/0/", 0), 0u);
    EXPECT_EQ(match->by, "embedding");
  }
  EXPECT_GT(matched, 30);
}

TEST_F(NearEmbeddingsTest, ManyCopiesNeedOnePairEachAndOddRowsAreNearNone) {
  Rows rows(3000, some_rows(1, 1).front());
  rows[7].assign(kWidth, 0);
  rows[9][0] = std::numeric_limits<float>::quiet_NaN();
  rows[11][3] = std::numeric_limits<float>::infinity();
  clusters(write(rows, 1000, 0), 0.95, 2);
  EXPECT_EQ(counts_.clusters, 1);
  EXPECT_EQ(counts_.copies, 2996);
  EXPECT_LT(most_pairs_, 3000);
}

TEST_F(NearEmbeddingsTest, FilesThatDoNotFitAreNamed) {
  auto ranges = write(some_rows(20, 2), 10, 0);
  checkpoint::Features narrow;
  narrow.space = "tower";
  narrow.sample = at::tensor(std::vector<std::int64_t>{0}, at::kLong);
  narrow.image = at::ones({1, kWidth - 1}, at::kFloat);
  checkpoint::write_features(ranges[1].path, narrow);
  try {
    NearEmbeddings(ranges, 0.9);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(ranges[1].path), std::string::npos);
  }
}

}  // namespace
}  // namespace trireme::worker::stages::near_duplicates
