#include "worker/data/tallies/duplicates.h"

#include <unistd.h>

#include <map>

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/random.h"

namespace trireme::worker::data {
namespace {

TEST(Duplicates, FirstOfEveryGroupForAnySplit) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("trireme-duplicates-" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  RandomStream random(9, RandomPurpose::kTest);
  // Two data sets of two shards with 100 samples each; images and texts repeat.
  struct One {
    std::string image, text;
  };
  std::vector<std::vector<One>> shards(4, std::vector<One>(100));
  for (auto& shard : shards)
    for (auto& one : shard)
      one = {"image" + std::to_string(random.below(300)),
             random.below(10) == 0 ? "" : "text" + std::to_string(random.below(200))};
  const auto hashes_of = [](const One& one) {
    return sample_hashes(one.image,
                         one.text.empty() ? std::vector<std::string>{} : std::vector<std::string>{one.text});
  };
  std::map<std::string, std::vector<std::pair<std::size_t, std::size_t>>> groups;
  for (std::size_t s = 0; s < 4; ++s)
    for (std::size_t i = 0; i < 100; ++i) groups[shards[s][i].image].emplace_back(s, i);
  for (const auto& [step, partitions] : {std::pair<std::size_t, std::int64_t>{100, 1}, {13, 3}, {100, 5}}) {
    std::vector<RangeOfHashes> ranges;
    for (std::size_t s = 0; s < 4; ++s)
      for (std::size_t from = 0; from < 100; from += step) {
        SampleHashes hashes;
        for (std::size_t i = from; i < std::min<std::size_t>(100, from + step); ++i) {
          const auto found = hashes_of(shards[s][i]);
          for (std::size_t f = 0; f < kSameInCount; ++f)
            if (found[f]) hashes[f].push_back({*found[f], static_cast<std::uint32_t>(i)});
        }
        ranges.push_back({(folder / (std::to_string(s) + "-" + std::to_string(from))).string(),
                          s < 2 ? "test" : "train", static_cast<std::int64_t>(s % 2)});
        write_hashes(ranges.back().path, hashes, partitions);
      }
    std::vector<std::string> paths;
    std::int64_t copies = 0;
    for (std::int64_t p = 0; p < partitions; ++p) {
      paths.push_back((folder / ("merged" + std::to_string(p))).string());
      copies += write_duplicates(ranges, p, partitions, paths.back())[0].copies;
    }
    EXPECT_EQ(copies, static_cast<std::int64_t>(400 - groups.size()));
    const Duplicates duplicates(paths);
    for (const auto& [image, members] : groups) {
      const auto first = duplicates.find(SameIn::kImage, *hashes_of({image, ""})[0]);
      ASSERT_EQ(first.has_value(), members.size() > 1) << image;
      if (!first) continue;
      EXPECT_EQ(first->data, members.front().first < 2 ? "test" : "train");
      EXPECT_EQ(first->shard, static_cast<std::int64_t>(members.front().first % 2));
      EXPECT_EQ(first->sample, static_cast<std::int64_t>(members.front().second));
      EXPECT_EQ(first->members, static_cast<std::int64_t>(members.size()));
    }
    std::string bad = io::read_file(paths[0]);
    bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 4);
    io::write_file_atomic(paths[0], bad, false);
    EXPECT_THROW(Duplicates{paths}, Error);
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace trireme::worker::data
