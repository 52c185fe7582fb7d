// Shingles by hand; pairs and clusters against comparing everything with everything, for any split.
#include "worker/data/tallies/near_captions.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/random.h"

namespace trireme::worker::data {
namespace {

using Words = std::vector<std::string>;

TEST(Shingles, WordsInARowOfEveryCaption) {
  EXPECT_EQ(shingles_of({{"a", "b", "c"}}, 2).size(), 2u);
  EXPECT_EQ(shingles_of({{"a", "b", "a", "b"}}, 2).size(), 2u);  // a b, b a
  EXPECT_EQ(shingles_of({{"a", "b", "c"}, {"b", "c", "d"}}, 2).size(), 3u);
  EXPECT_EQ(shingles_of({{"a", "b"}}, 3), shingles_of({{"a", "b"}}, 2));  // all there is
  EXPECT_NE(shingles_of({{"ab", "c"}}, 2), shingles_of({{"a", "bc"}}, 2));
  EXPECT_TRUE(shingles_of({{}, {}}, 2).empty());
  const auto set = shingles_of({{"x", "y", "z", "x", "w"}}, 1);
  EXPECT_TRUE(std::ranges::is_sorted(set));
  EXPECT_EQ(set.size(), 4u);
}

TEST(Shingles, JaccardIsSharedOverAll) {
  const std::vector<std::uint64_t> a{1, 2, 3, 4}, b{3, 4, 5}, none{9};
  EXPECT_DOUBLE_EQ(jaccard(a, b), 2.0 / 5);
  EXPECT_DOUBLE_EQ(jaccard(b, a), 2.0 / 5);
  EXPECT_EQ(jaccard(a, a), 1);
  EXPECT_EQ(jaccard(a, none), 0);
}

// Captions of 4 to 14 words; half of them an earlier one with up to three words changed, left out or added.
std::vector<Words> some_captions(std::size_t count, std::uint64_t seed) {
  RandomStream random(seed, RandomPurpose::kTest);
  const auto word = [&] { return "w" + std::to_string(random.below(400)); };
  std::vector<Words> captions;
  for (std::size_t i = 0; i < count; ++i) {
    Words words;
    if (i > 0 && random.below(2) == 0) {
      words = captions[random.below(i)];
      for (auto changes = random.below(4); changes > 0; --changes) {
        const auto at = static_cast<std::ptrdiff_t>(random.below(words.size()));
        const auto what = random.below(3);
        if (what == 0) words[static_cast<std::size_t>(at)] = word();
        if (what == 1 && words.size() > 4) words.erase(words.begin() + at);
        if (what == 2) words.insert(words.begin() + at, word());
      }
    } else {
      for (auto n = 4 + random.below(11); n > 0; --n) words.push_back(word());
    }
    captions.push_back(std::move(words));
  }
  return captions;
}

class NearCaptionsTest : public ::testing::Test {
 protected:
  NearCaptionsTest() { std::filesystem::create_directories(folder_); }
  ~NearCaptionsTest() override { std::filesystem::remove_all(folder_); }

  std::vector<RangeOfSamples> write(const std::vector<Words>& captions, std::size_t step) {
    std::vector<RangeOfSamples> ranges;
    for (std::size_t from = 0; from < captions.size(); from += step) {
      std::vector<ShingledSample> samples;
      for (std::size_t i = from; i < std::min(captions.size(), from + step); ++i)
        samples.push_back({static_cast<std::uint32_t>(i), shingles_of({captions[i]}, 2)});
      ranges.push_back(
          {(folder_ / (std::to_string(step) + "-" + std::to_string(from))).string(), "train", 0});
      write_shingles(ranges.back().path, samples);
    }
    return ranges;
  }

  std::string clusters(const std::vector<RangeOfSamples>& ranges, double least, std::int64_t partitions) {
    const NearCaptions samples(ranges, least);
    std::vector<std::string> files;
    for (std::int64_t p = 0; p < partitions; ++p) {
      files.push_back((folder_ / ("pairs" + std::to_string(p))).string());
      write_near_pairs(
          samples, p, partitions, [] {}, files.back());
    }
    counts_ = write_near_clusters(samples, ranges, files, "caption", folder_ / "clusters");
    return io::read_file(folder_ / "clusters");
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("trireme-captions-" + std::to_string(::getpid()));
  ClusterCounts counts_;
};

TEST_F(NearCaptionsTest, ConnectedCaptionsForAnySplit) {
  const auto captions = some_captions(600, 11);
  for (const double least : {0.45, 0.6, 0.7, 0.9, 1.0}) {
    DisjointSets expected(captions.size());
    std::size_t pairs = 0;
    for (std::size_t i = 0; i < captions.size(); ++i)
      for (std::size_t j = i + 1; j < captions.size(); ++j)
        if (jaccard(shingles_of({captions[i]}, 2), shingles_of({captions[j]}, 2)) >= least - 1e-9) {
          expected.join(i, j);
          ++pairs;
        }
    EXPECT_GT(pairs, 20u) << least;
    const std::string bytes = clusters(write(captions, 600), least, 1);
    EXPECT_EQ(clusters(write(captions, 77), least, 3), bytes);
    EXPECT_EQ(clusters(write(captions, 200), least, 50), bytes);  // more partitions than bands
    const NearClusters found({(folder_ / "clusters").string()});
    for (std::size_t i = 0; i < captions.size(); ++i) {
      const auto kept = found.kept_for("caption", "train/0/" + std::to_string(i));
      const auto root = expected.root(i);
      ASSERT_EQ(kept.has_value(), root != i) << i << " at " << least;
      if (!kept) continue;
      EXPECT_EQ(kept->place, "train/0/" + std::to_string(root));
      EXPECT_NEAR(kept->measure, jaccard(shingles_of({captions[i]}, 2), shingles_of({captions[root]}, 2)),
                  1e-6);
    }
  }
}

TEST_F(NearCaptionsTest, OneTextManyTimesIsOneClusterQuickly) {
  std::vector<Words> captions(20000, Words{"stock", "photo", "of", "a", "thing"});
  captions.push_back({});  // no words, no cluster
  clusters(write(captions, 20001), 0.7, 2);
  EXPECT_EQ(counts_.samples, 20000);
  EXPECT_EQ(counts_.clusters, 1);
  EXPECT_EQ(counts_.copies, 19999);
}

TEST_F(NearCaptionsTest, DamageIsTold) {
  const auto ranges = write(some_captions(50, 5), 50);
  const std::string good = io::read_file(ranges[0].path);
  for (const std::size_t at : {std::size_t{9}, std::size_t{17}, good.size() / 2}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 4);
    io::write_file_atomic(ranges[0].path, bad, false);
    EXPECT_THROW(NearCaptions(ranges, 0.7), Error) << at;
  }
  io::write_file_atomic(ranges[0].path, good.substr(0, good.size() - 16), false);
  EXPECT_THROW(NearCaptions(ranges, 0.7), Error);
}

}  // namespace
}  // namespace trireme::worker::data
