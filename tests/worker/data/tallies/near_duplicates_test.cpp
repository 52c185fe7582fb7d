// Pairs and clusters against comparing everything with everything, for any number of partitions and ranges.
#include "worker/data/tallies/near_duplicates.h"

#include <unistd.h>

#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/random.h"

namespace trireme::worker::data {
namespace {

// `count` pictures of grain; some are copies of an earlier one with up to `flips` bits turned over.
std::vector<ImageSignature> some_images(std::size_t count, int flips, std::uint64_t seed) {
  RandomStream random(seed, RandomPurpose::kTest);
  std::vector<ImageSignature> images;
  for (std::size_t i = 0; i < count; ++i) {
    ImageSignature image;
    if (i > 0 && random.below(2) == 0) {
      image = images[random.below(i)];
      const auto turned = random.below(static_cast<std::uint64_t>(flips) + 1);
      for (std::uint64_t f = 0; f < turned; ++f) image.bits ^= std::uint64_t{1} << random.below(64);
      if (random.below(4) == 0)  // other colours: no pair, whatever the bits
        for (auto& cell : image.cells) cell = static_cast<std::uint8_t>(random.below(256));
    } else {
      image.bits = random.next_u64();
      for (auto& cell : image.cells) cell = static_cast<std::uint8_t>(random.below(256));
    }
    images.push_back(image);
  }
  return images;
}

std::vector<SignatureView> views_of(const std::vector<ImageSignature>& images) {
  std::vector<SignatureView> views;
  for (const auto& image : images) views.push_back({image.bits, image.cells.data()});
  return views;
}

// Root of every image, by comparing each with each.
std::vector<std::size_t> components(const std::vector<ImageSignature>& images, int distance) {
  const auto views = views_of(images);
  std::vector<std::size_t> root(images.size());
  std::iota(root.begin(), root.end(), std::size_t{0});
  for (std::size_t i = 0; i < images.size(); ++i)
    for (std::size_t j = i + 1; j < images.size(); ++j)
      if (hash_distance(images[i].bits, images[j].bits) <= distance && cells_match(views[i], views[j])) {
        const auto low = std::min(root[i], root[j]), high = std::max(root[i], root[j]);
        for (auto& r : root) r = r == high ? low : r;
      }
  return root;
}

TEST(NearDuplicates, EveryPairWithinTheDistanceAndNoOther) {
  for (const int distance : {0, 3, 8, 10, 12}) {
    const auto images = some_images(400, distance + 3, 7 + static_cast<std::uint64_t>(distance));
    const auto views = views_of(images);
    std::set<NearPair> expected;
    for (std::size_t i = 0; i < images.size(); ++i)
      for (std::size_t j = i + 1; j < images.size(); ++j)
        if (hash_distance(images[i].bits, images[j].bits) <= distance && cells_match(views[i], views[j]))
          expected.emplace(i, j);
    EXPECT_GT(expected.size(), 20u);
    for (const std::int64_t partitions : {1, 3}) {
      std::set<NearPair> found;
      for (std::int64_t p = 0; p < partitions; ++p)
        for (const auto& pair : near_pairs(views, distance, p, partitions)) found.insert(pair);
      for (const auto& pair : found) EXPECT_TRUE(expected.contains(pair));
      for (const auto& [i, j] : expected) {  // equal ones stand for one another
        const auto same = [&](std::size_t a, std::size_t b) {
          return images[a].bits == images[b].bits && images[a].cells == images[b].cells;
        };
        bool either = found.contains({i, j});
        for (const auto& [a, b] : found)
          either = either || (same(a, i) && same(b, j)) || (same(a, j) && same(b, i));
        EXPECT_TRUE(either || same(i, j)) << i << " " << j << " at distance " << distance;
      }
    }
  }
}

class NearClustersTest : public ::testing::Test {
 protected:
  NearClustersTest() { std::filesystem::create_directories(folder_); }
  ~NearClustersTest() override { std::filesystem::remove_all(folder_); }

  // 300 images: 100 of "test" and 200 of "train" in shards of 50, in ranges of `step`.
  std::string clusters(const std::vector<ImageSignature>& images, std::size_t step, std::int64_t partitions) {
    std::vector<RangeOfSamples> ranges;
    for (std::size_t shard = 0; shard < 6; ++shard)
      for (std::size_t from = 0; from < 50; from += step) {
        std::vector<SignedImage> signed_images;
        for (std::size_t i = from; i < std::min<std::size_t>(50, from + step); ++i)
          signed_images.push_back({static_cast<std::uint32_t>(i), images[50 * shard + i]});
        ranges.push_back({(folder_ / (std::to_string(shard) + "-" + std::to_string(from))).string(),
                          shard < 2 ? "test" : "train",
                          static_cast<std::int64_t>(shard < 2 ? shard : shard - 2)});
        write_signatures(ranges.back().path, signed_images);
      }
    std::vector<std::string> pairs;
    for (std::int64_t p = 0; p < partitions; ++p) {
      pairs.push_back((folder_ / ("pairs" + std::to_string(p))).string());
      write_near_pairs(
          NearImages(ranges, 8), p, partitions, [] {}, pairs.back());
    }
    counts_ = write_near_clusters(NearImages(ranges, 8), ranges, pairs, "hash", folder_ / "clusters");
    return io::read_file(folder_ / "clusters");
  }

  static std::string place(std::size_t i) {
    return (i < 100 ? "test/" + std::to_string(i / 50) : "train/" + std::to_string(i / 50 - 2)) + "/" +
           std::to_string(i % 50);
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("trireme-near-" + std::to_string(::getpid()));
  ClusterCounts counts_;
};

TEST_F(NearClustersTest, ConnectedImagesForAnySplit) {
  const auto images = some_images(300, 12, 3);
  const auto root = components(images, 8);
  const std::string bytes = clusters(images, 50, 1);
  EXPECT_EQ(clusters(images, 13, 4), bytes);
  EXPECT_EQ(clusters(images, 7, 3), bytes);
  const NearClusters found({(folder_ / "clusters").string()});
  std::int64_t copies = 0;
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto kept = found.kept_for("hash", place(i));
    ASSERT_EQ(kept.has_value(), root[i] != i) << i;
    copies += root[i] != i ? 1 : 0;
    if (kept) {
      EXPECT_EQ(kept->place, place(root[i]));
      EXPECT_EQ(kept->measure, hash_distance(images[i].bits, images[root[i]].bits));
      EXPECT_EQ(kept->by, "hash");
    }
    bool single = true;
    for (std::size_t j = 0; j < images.size(); ++j) single = single && (j == i || root[j] != root[i]);
    const auto in_test = found.match_in(place(i), {"test"});
    ASSERT_EQ(in_test.has_value(), !single && root[i] < 100) << i;  // the test set stands first
    if (in_test) {
      EXPECT_EQ(in_test->place, place(root[i]));
    }
    EXPECT_FALSE(found.match_in(place(i), {"tes"}));
  }
  EXPECT_EQ(counts_.samples, 300);
  EXPECT_TRUE(found.has("hash"));
  EXPECT_FALSE(found.has("embedding"));
  EXPECT_FALSE(found.kept_for("embedding", place(299)));
  const std::string path = (folder_ / "clusters").string();
  EXPECT_THROW(NearClusters({path, path}), Error);  // which of the two?
  EXPECT_EQ(counts_.copies, copies);
  EXPECT_GT(copies, 50);
}

TEST_F(NearClustersTest, ManyEqualImagesAreOneClusterQuickly) {
  const auto one = some_images(1, 0, 5).front();
  clusters(std::vector<ImageSignature>(300, one), 50, 2);
  EXPECT_EQ(counts_.clusters, 1);
  EXPECT_EQ(counts_.copies, 299);
  std::vector<SignatureView> views(200000, SignatureView{one.bits, one.cells.data()});
  EXPECT_EQ(near_pairs(views, 10, 0, 1).size(), 199999u);
}

TEST_F(NearClustersTest, DamageIsTold) {
  clusters(some_images(300, 12, 3), 50, 1);
  for (const char* name : {"0-0", "pairs0", "clusters"}) {
    const auto path = folder_ / name;
    const std::string good = io::read_file(path);
    std::string bad = good;
    bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 4);
    const auto read = [&] {
      if (std::string(name) == "clusters")
        NearClusters({path.string()});
      else
        write_near_clusters(NearImages({{(folder_ / "0-0").string(), "test", 0}}, 8),
                            {{(folder_ / "0-0").string(), "test", 0}}, {(folder_ / "pairs0").string()},
                            "hash", folder_ / "again");
    };
    io::write_file_atomic(path, good.substr(0, good.size() - 9), false);
    EXPECT_THROW(read(), Error) << name;
    if (std::string(name) != "clusters") {
      io::write_file_atomic(path, bad, false);
      EXPECT_THROW(read(), Error) << name;
    }
    io::write_file_atomic(path, good, false);
  }
}

}  // namespace
}  // namespace trireme::worker::data
