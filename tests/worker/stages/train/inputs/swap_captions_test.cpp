#include "worker/stages/train/inputs/swap_captions.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "tests/worker/stages/train/support/tiny_job.h"
#include "worker/stages/train/signals/truth.h"

namespace trireme::worker::stages::train {
namespace {

class SwapCaptionsTest : public ::testing::Test {
 protected:
  SwapCaptionsTest()
      : folder_(std::filesystem::temp_directory_path() / ("trireme_swap_" + std::to_string(::getpid()))),
        job_(folder_.string()) {}
  ~SwapCaptionsTest() override { std::filesystem::remove_all(folder_); }

  // Three shards of 16; the first sample of each is dropped.
  DataSet data() const {
    DataSet set;
    for (int s = 0; s < 3; ++s) {
      DataShard shard;
      shard.ref.path = (folder_ / (std::to_string(s) + ".tar")).string();
      shard.ref.sha256 = "sha of " + std::to_string(s);
      shard.reader = std::make_shared<data::ShardReader>(shard.ref.path, shard.ref.path + ".idx");
      for (std::int32_t i = 1; i < 16; ++i) shard.kept.push_back(i);
      set.shards.push_back(shard);
    }
    return set;
  }
  std::string file(const std::string& run, const std::string& name) const {
    return io::read_file(job_.output(run) + "/" + name);
  }

  io::Path folder_;
  TinyJob job_;
};

TEST_F(SwapCaptionsTest, TheChosenTakeEachOthersCaptionsAndNobodyElse) {
  const DataSet clean = data();
  for (const double share : {0.2, 0.5, 1.0}) {
    DataSet set = data();
    swap_captions(set, {share, 4});
    std::set<data::SamplePosition> givers, takers;
    for (std::size_t s = 0; s < 3; ++s)
      for (std::int64_t i = 0; i < 16; ++i) {
        const data::SamplePosition self{static_cast<std::int64_t>(s), i}, owner = set.text_owner(s, i);
        EXPECT_EQ(set.captions(s, i), clean.captions(static_cast<std::size_t>(owner.shard), owner.sample));
        if (owner == self) continue;
        EXPECT_GT(i, 0) << "a dropped sample";
        takers.insert(self);
        givers.insert(owner);
      }
    EXPECT_EQ(takers.size(), static_cast<std::size_t>(share * 45 + 0.5));
    EXPECT_EQ(givers, takers) << "every caption as often as before";
  }
}

TEST_F(SwapCaptionsTest, AFunctionOfSeedAndSamplesAlone) {
  DataSet first = data(), again = data(), other = data(), none = data(), one = data();
  swap_captions(first, {0.4, 4});
  swap_captions(again, {0.4, 4});
  swap_captions(other, {0.4, 5});
  swap_captions(none, {0, 4});
  swap_captions(one, {1.0 / 45, 4});
  EXPECT_EQ(first.texts_of, again.texts_of);
  EXPECT_NE(first.texts_of, other.texts_of);
  EXPECT_TRUE(none.texts_of.empty());
  EXPECT_TRUE(one.texts_of.empty()) << "there is nobody to swap with";
}

TEST_F(SwapCaptionsTest, TheTruthIsKnown) {
  DataSet set = data();
  io::write_file_atomic(folder_ / "1.truth.jsonl",
                        "{\"key\":\"000000020\",\"noise\":\"boilerplate\"}\n"
                        "{\"key\":\"000000021\",\"noise\":\"none\"}\n",
                        false);
  swap_captions(set, {0.5, 4});
  const TruthTable truth(set);
  ASSERT_TRUE(truth.any());
  for (std::int64_t s = 0; s < 3; ++s)
    for (std::int64_t i = 0; i < 16; ++i) {
      const bool swapped = set.text_owner(static_cast<std::size_t>(s), i) != data::SamplePosition{s, i};
      const Truth otherwise = s != 1   ? Truth::kClean
                              : i == 4 ? Truth::kCorrupted
                              : i == 5 ? Truth::kClean
                                       : Truth::kUnknown;
      EXPECT_EQ(truth.of({s, i}), swapped ? Truth::kCorrupted : otherwise) << s << " " << i;
    }
}

TEST_F(SwapCaptionsTest, TrainingSeesThemAndTellsThemApart) {
  job_.settings.epochs = 2;
  ASSERT_EQ(job_.train("clean", 1).error, "");
  job_.settings.swap_captions = {0.5, 1};
  ASSERT_EQ(job_.train("one", 1).error, "");
  ASSERT_EQ(job_.train("four", 4).error, "");
  EXPECT_EQ(file("one", "model.safetensors"), file("four", "model.safetensors"));
  EXPECT_NE(file("one", "model.safetensors"), file("clean", "model.safetensors"));
  const auto metrics = [&](const std::string& run) {
    return nlohmann::json::parse(file(run, "signals.json")).at("metrics");
  };
  EXPECT_FALSE(metrics("clean").contains("auc.similarity.text"));
  EXPECT_TRUE(metrics("one").contains("auc.similarity.text"));
}

// Raw texts and the text that stands for a synthetic one come from the same stored features; a sample has one
// caption here, so there is none left to draw.
TEST_F(SwapCaptionsTest, OwnCaptionsNeedOneMore) {
  job_.settings.loss.texts = jobs::LossTexts::kBoth;
  job_.settings.synthetic_caption = "own:1";
  EXPECT_NE(job_.train("run", 1).error.find("own:1"), std::string::npos);
}

}  // namespace
}  // namespace trireme::worker::stages::train
