#include "worker/data/tallies/pair_counts.h"

#include <unistd.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/random.h"

namespace trireme::worker::data {
namespace {

class PairCountsFiles : public ::testing::Test {
 protected:
  PairCountsFiles() { std::filesystem::create_directories(folder_); }
  ~PairCountsFiles() override { std::filesystem::remove_all(folder_); }
  io::Path file(const std::string& name) const { return folder_ / name; }
  io::Path folder_ = std::filesystem::temp_directory_path() / ("trireme-pairs-" + std::to_string(::getpid()));

  // Writes `pairs` as `parts` map outputs of `partitions`, merges them, and opens the result.
  PairCounts counted(const std::vector<Pair>& pairs, std::size_t parts, std::int64_t partitions,
                     std::uint64_t* keys = nullptr) {
    std::vector<PairsFile> files;
    for (std::size_t part = 0; part < parts; ++part) {
      std::vector<Pair> own;
      for (std::size_t i = part; i < pairs.size(); i += parts) own.push_back(pairs[i]);
      const auto path = file("map-" + std::to_string(part));
      write_pairs(path, own, partitions);
      files.emplace_back(path);
    }
    std::vector<std::string> paths;
    for (std::int64_t partition = 0; partition < partitions; ++partition) {
      const auto texts = merge_pairs(files, PairFamily::kText, partition);
      const auto images = merge_pairs(files, PairFamily::kImage, partition);
      if (keys != nullptr) *keys += texts.keys;
      paths.push_back(file("merge-" + std::to_string(partition)).string());
      write_counts(paths.back(), partition, partitions, texts.repeated, images.repeated);
    }
    return PairCounts(paths);
  }
};

io::Hash128 key(const std::string& name) {
  return io::xxh3_128(name);
}

TEST_F(PairCountsFiles, EqualsBruteForceForAnySplit) {
  RandomStream random(11, RandomPurpose::kTest);
  std::vector<Pair> pairs;
  std::map<io::Hash128, std::set<io::Hash128>> images_of, texts_of;
  for (int i = 0; i < 3000; ++i) {
    // Squared draws: a few texts and images are very common.
    const auto draw = [&](int bound) {
      const double u = random.uniform();
      return std::to_string(static_cast<int>(u * u * bound));
    };
    const Pair pair{key("t" + draw(400)), key("i" + draw(900))};
    pairs.push_back(pair);
    images_of[pair.text].insert(pair.image);
    texts_of[pair.image].insert(pair.text);
  }
  for (const auto& [parts, partitions] :
       {std::pair<std::size_t, std::int64_t>{1, 1}, {3, 8}, {7, 5}, {50, 64}}) {
    std::uint64_t keys = 0;
    const PairCounts counts = counted(pairs, parts, partitions, &keys);
    EXPECT_EQ(keys, images_of.size());
    for (const auto& [text, images] : images_of) {
      ASSERT_EQ(counts.others(PairFamily::kText, text), images.size());
    }
    for (const auto& [image, texts] : texts_of) {
      ASSERT_EQ(counts.others(PairFamily::kImage, image), texts.size());
    }
    EXPECT_EQ(counts.others(PairFamily::kText, key("never seen")), 1u);
  }
}

TEST_F(PairCountsFiles, MergedBytesDoNotDependOnTheSplit) {
  std::vector<Pair> pairs;
  for (int i = 0; i < 200; ++i)
    pairs.push_back({key("t" + std::to_string(i % 17)), key("i" + std::to_string(i % 23))});
  counted(pairs, 1, 3);
  const auto once = io::read_file(file("merge-1"));
  counted(pairs, 9, 3);
  EXPECT_EQ(io::read_file(file("merge-1")), once);
}

TEST_F(PairCountsFiles, NoPairsAtAll) {
  const PairCounts counts = counted({}, 2, 2);
  EXPECT_EQ(counts.others(PairFamily::kImage, key("x")), 1u);
}

TEST_F(PairCountsFiles, EveryFlippedByteIsFound) {
  const std::vector<Pair> pairs = {{key("a"), key("1")}, {key("a"), key("2")}, {key("b"), key("1")}};
  counted(pairs, 1, 2);
  for (const auto& name : {"map-0", "merge-0"}) {
    const auto whole = io::read_file(file(name));
    for (std::size_t at = 0; at < whole.size(); ++at) {
      auto broken = whole;
      broken[at] = static_cast<char>(broken[at] ^ 0x40);
      io::write_file_atomic(file("broken"), broken, false);
      if (std::string(name) == "map-0") {
        EXPECT_THROW(
            {
              const PairsFile pairs_file(file("broken"));
              for (const auto family : {PairFamily::kText, PairFamily::kImage}) {
                for (std::int64_t p = 0; p < pairs_file.partitions(); ++p) pairs_file.segment(family, p);
              }
            },
            Error)
            << at;
      } else {
        EXPECT_THROW(PairCounts({file("broken").string(), file("merge-1").string()}), Error) << at;
      }
    }
    io::write_file_atomic(file("broken"), whole.substr(0, whole.size() - 1), false);
    EXPECT_THROW(PairCounts({file("broken").string(), file("merge-1").string()}), Error);
    EXPECT_THROW(PairsFile(file("broken")), Error);
  }
}

TEST_F(PairCountsFiles, PartitionsMustBeComplete) {
  counted({{key("a"), key("1")}}, 1, 2);
  EXPECT_THROW(PairCounts({file("merge-0").string()}), Error);
  EXPECT_THROW(PairCounts({file("merge-0").string(), file("merge-0").string()}), Error);
  EXPECT_THROW(write_pairs(file("x"), {}, 0), Error);
}

}  // namespace
}  // namespace trireme::worker::data
