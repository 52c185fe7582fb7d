#include "worker/data/tallies/ngram_counts.h"

#include <unistd.h>

#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/random.h"

namespace trireme::worker::data {
namespace {

class NgramCountsTest : public ::testing::Test {
 protected:
  NgramCountsTest() {
    folder_ = std::filesystem::temp_directory_path() / ("trireme-ngrams-" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    RandomStream random(5, RandomPurpose::kTest);
    for (int i = 0; i < 12000; ++i) {
      std::vector<std::string> text;
      for (auto n = random.below(9); n > 0; --n) {
        const auto a = random.below(60);
        text.push_back("w" + std::to_string(a * a * random.below(3)));
      }
      texts_.push_back(text);
      for (std::size_t w = 0; w < text.size(); ++w) {
        ++expected_[text[w]];
        if (w > 0) ++expected_[text[w - 1] + " " + text[w]];
      }
    }
  }
  ~NgramCountsTest() override { std::filesystem::remove_all(folder_); }

  // Counts texts [first, last) of every part into a run of its own, merges, opens.
  NgramCounts counted(std::size_t parts, std::int64_t partitions, std::size_t memory_bytes,
                      std::int64_t* spills = nullptr) {
    std::vector<NgramRun> runs;
    for (std::size_t part = 0; part < parts; ++part) {
      const auto path = folder_ / ("part" + std::to_string(part));
      NgramTally tally(path, partitions, memory_bytes);
      for (std::size_t i = part; i < texts_.size(); i += parts) tally.add_words(texts_[i]);
      tally.finish();
      if (spills != nullptr) *spills += tally.spills();
      runs.emplace_back(path);
    }
    std::vector<std::string> paths;
    for (std::int64_t p = 0; p < partitions; ++p) {
      paths.push_back((folder_ / ("counts" + std::to_string(p))).string());
      write_ngram_counts(runs, p, partitions, paths.back());
    }
    return NgramCounts(paths);
  }

  std::filesystem::path folder_;
  std::vector<std::vector<std::string>> texts_;
  std::map<std::string, std::uint64_t> expected_;
};

TEST_F(NgramCountsTest, EqualToBruteForceForAnySplitAndMemory) {
  std::string first;
  for (const auto& [parts, partitions, memory] :
       {std::tuple<std::size_t, std::int64_t, std::size_t>{1, 1, 1 << 30},
        {1, 3, 1 << 30},
        {7, 3, 1 << 30},
        {2, 3, 1 << 14},
        {5, 8, 1}}) {
    std::int64_t spills = 0;
    const NgramCounts counts = counted(parts, partitions, memory, &spills);
    EXPECT_EQ(spills > 0, memory < (1 << 20));
    EXPECT_EQ(counts.distinct(), static_cast<std::int64_t>(expected_.size()));
    for (const auto& [ngram, count] : expected_) ASSERT_EQ(counts.count(ngram), count) << ngram;
    EXPECT_EQ(counts.count("never seen"), 0U);
    if (partitions != 3) continue;
    const std::string bytes = io::read_file(folder_ / "counts1");
    if (first.empty()) first = bytes;
    EXPECT_EQ(bytes, first);  // whatever parts and memory
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder_))
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << "a spilled run is left";
}

TEST_F(NgramCountsTest, CutIsByCountThenBytes) {
  const NgramCounts counts = counted(3, 4, 1 << 30);
  std::vector<std::pair<std::uint64_t, std::string>> ranked;
  for (const auto& [ngram, count] : expected_) ranked.emplace_back(count, ngram);
  std::sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  for (const std::size_t most : {std::size_t{1}, std::size_t{2}, std::size_t{57}, std::size_t{300},
                                 ranked.size() - 1, ranked.size(), ranked.size() + 10}) {
    const NgramCut cut = counts.cut(static_cast<std::int64_t>(most));
    for (std::size_t i = 0; i < ranked.size(); ++i)
      ASSERT_EQ(cut.keeps(ranked[i].first, ranked[i].second), i < most) << most << " " << i;
  }
}

TEST_F(NgramCountsTest, RarestIsFewestThenLastInBytes) {
  const NgramCounts counts = counted(1, 2, 1 << 30);
  for (const auto& text : texts_) {
    RarestNgram expected;
    for (std::size_t w = 0; w < text.size(); ++w)
      for (const std::string& ngram : {text[w], w > 0 ? text[w - 1] + " " + text[w] : text[w]}) {
        const auto count = expected_.at(ngram);
        if (expected.ngram.empty() || count < expected.count ||
            (count == expected.count && ngram > expected.ngram))
          expected = {count, ngram};
      }
    const RarestNgram found = counts.rarest(text);
    ASSERT_EQ(found.ngram, expected.ngram);
    ASSERT_EQ(found.count, expected.count);
  }
}

TEST_F(NgramCountsTest, DamageIsFound) {
  counted(1, 2, 1 << 30);
  for (const char* name : {"counts0", "part0"}) {
    std::string bytes = io::read_file(folder_ / name);
    for (const std::size_t at : {std::size_t{3}, std::size_t{40}, bytes.size() / 2, bytes.size() - 3}) {
      std::string bad = bytes;
      bad[at] = static_cast<char>(bad[at] ^ 1);
      io::write_file_atomic(folder_ / "bad", bad, false);
      const auto use = [&] {
        if (std::string(name) == "counts0") {
          NgramCounts({(folder_ / "bad").string(), (folder_ / "counts1").string()});
        } else {
          const NgramRun run(folder_ / "bad");
          for (std::int64_t p = 0; p < 2; ++p) run.segment(p);
        }
      };
      if (std::string(name) == "counts0" || at == 3 || at > 16) {
        EXPECT_THROW(use(), Error) << name << " " << at;
      }
    }
  }
  EXPECT_THROW(NgramCounts({(folder_ / "counts0").string()}), Error);  // the other partition is missing
}

}  // namespace
}  // namespace trireme::worker::data
