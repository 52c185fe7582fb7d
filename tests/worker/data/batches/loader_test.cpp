#include "worker/data/batches/loader.h"

#include "worker/data/batches/device_images.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "common/base/error.h"
#include "common/io/hash.h"
#include "tests/support/tar_writer.h"

namespace trireme::worker::data {
namespace {

constexpr std::int64_t kPx = 16;

// Three shards of pictures, each of one colour of its own: shard s, sample i is (40 s + 4 i, 90, 200 - 4 i).
class LoaderTest : public ::testing::Test {
 protected:
  static constexpr int kSamples = 7;
  io::Path folder = std::filesystem::temp_directory_path() / ("trireme-loader-" + std::to_string(::getpid()));
  std::vector<std::shared_ptr<const ShardReader>> readers;
  std::vector<std::string> hashes;

  void SetUp() override {
    for (int shard = 0; shard < 3; ++shard) {
      testing::TarWriter tar;
      for (int i = 0; i < kSamples; ++i) {
        const std::string key = "s" + std::to_string(shard) + "-" + std::to_string(i);
        const bool bad = shard == 1 && i == 3;
        tar.add(key + ".jpg", bad ? std::string("no picture") : encode_jpeg(picture(shard, i), 95));
        tar.add(key + ".txt", key + " a\n" + key + " b\n" + key + " c");
        if (i != 5) tar.add(key + ".json", "{\"caption\": \"x\", \"told\": \" a picture " + key + " \"}");
      }
      const io::Path path = folder / (std::to_string(shard) + ".tar");
      io::write_file_atomic(path, tar.bytes(), false);
      hashes.push_back(
          build_shard_index(path, jobs::DataFormat::kClipBenchmark, {}, path.string() + ".idx").sha256);
      readers.push_back(std::make_shared<ShardReader>(path, path.string() + ".idx"));
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  static Image picture(int shard, int i) {
    Image image{40, 30, {}};
    for (int p = 0; p < 40 * 30; ++p) {
      image.rgb.push_back(static_cast<std::uint8_t>(40 * shard + 4 * i + p % 40));
      image.rgb.push_back(90);
      image.rgb.push_back(static_cast<std::uint8_t>(200 - 4 * i));
    }
    return image;
  }

  std::shared_ptr<const SampleOrder> order() const {
    std::vector<ManifestShard> manifest;
    for (const std::string& hash : hashes) manifest.push_back({hash, kSamples, 1, {0, 1, 2, 3, 4, 5, 6}});
    return std::make_shared<SampleOrder>(manifest, 9);
  }

  LoaderOptions options(int threads) const {
    LoaderOptions out;
    out.global_batch = 8;
    out.logical_slots = 4;
    out.last_slot = 4;
    out.seed = 9;
    out.augment.scale_min = 0.4;
    out.augment.flip = true;
    out.image_px = kPx;
    out.normalization = {{0.5F, 0.5F, 0.5F}, {0.5F, 0.5F, 0.5F}};
    out.threads = threads;
    out.steps_ahead = 3;
    return out;
  }

  std::unique_ptr<BatchLoader> loader(const LoaderOptions& with) const {
    return std::make_unique<BatchLoader>(readers, hashes, order(), std::vector<std::string>{},
                                         std::vector<std::string>{}, with);
  }
};

void append(std::string& out, const SlotBatch& slot) {
  const at::Tensor pixels = slot.image_BCHW;
  out.append(static_cast<const char*>(pixels.data_ptr()), pixels.nbytes());
  for (std::size_t row = 0; row < slot.live.size(); ++row) {
    out += slot.captions[row] + "|" + std::to_string(slot.samples[row].shard) + "," +
           std::to_string(slot.samples[row].sample) + "," + std::to_string(slot.live[row]) + ";";
  }
}

// Hash of each slot of the next `steps` steps.
std::vector<std::uint64_t> run(BatchLoader& loader, int steps) {
  std::vector<std::uint64_t> out;
  for (int i = 0; i < steps; ++i) {
    for (const SlotBatch& slot : loader.next().slots) {
      std::string bytes;
      append(bytes, slot);
      out.push_back(io::xxh3_64(bytes));
    }
  }
  return out;
}

TEST_F(LoaderTest, SameBytesForAnyThreadsAndAnySplitOfTheSlots) {
  const auto whole = run(*loader(options(1)), 7);
  EXPECT_EQ(run(*loader(options(4)), 7), whole);
  for (std::int64_t half = 0; half < 2; ++half) {
    LoaderOptions own = options(2);
    own.first_slot = 2 * half;
    own.last_slot = 2 * half + 2;
    const auto part = run(*loader(own), 7);
    for (std::size_t step = 0; step < 7; ++step) {
      for (std::size_t slot = 0; slot < 2; ++slot) {
        EXPECT_EQ(part[2 * step + slot], whole[4 * step + 2 * static_cast<std::size_t>(half) + slot]);
      }
    }
  }
}

// What a GPU gets: bytes, mirrored and normalised where they arrive.
TEST_F(LoaderTest, BytesBecomeTheSamePicturesToTheBit) {
  for (const auto filter : {Filter::kBicubic, Filter::kBilinear}) {
    LoaderOptions floats = options(2), bytes = options(2);
    floats.normalization = bytes.normalization = {{0.48F, 0.46F, 0.41F}, {0.27F, 0.26F, 0.28F}};
    floats.filter = bytes.filter = filter;
    bytes.bytes = true;
    const auto want = loader(floats), got = loader(bytes);
    int mirrored = 0, dead = 0;
    for (int i = 0; i < 4; ++i) {
      const auto wanted = want->next(), given = got->next();
      for (std::size_t slot = 0; slot < wanted.slots.size(); ++slot) {
        const SlotBatch& batch = given.slots[slot];
        EXPECT_FALSE(batch.image_BCHW.defined());
        EXPECT_EQ(batch.bytes_BHWC.scalar_type(), at::kByte);
        EXPECT_TRUE(
            at::equal(images_on(batch, bytes.normalization, at::kCPU), wanted.slots[slot].image_BCHW));
        for (const auto flag : batch.mirrored) mirrored += flag;
        for (const auto flag : batch.live) dead += flag == 0 ? 1 : 0;
      }
    }
    EXPECT_GT(mirrored, 0);
    EXPECT_GT(dead, 0);
  }
}

TEST_F(LoaderTest, SeekResumesAnywhereAndEpochsFollowEachOther) {
  const auto whole = run(*loader(options(2)), 7);  // 21 samples: 3 steps an epoch
  const auto other = loader(options(3));
  run(*other, 2);
  other->seek(1, 1);
  const auto step = other->next();
  EXPECT_EQ(step.epoch, 1);
  EXPECT_EQ(step.step_in_epoch, 1);
  other->seek(1, 1);
  const auto rest = run(*other, 3);
  EXPECT_TRUE(std::equal(rest.begin(), rest.end(), whole.begin() + 16));
  EXPECT_NE(whole[0], whole[12]);
}

TEST_F(LoaderTest, EverySampleOncePerEpochWithPaddingAndBadRowsMasked) {
  const auto source = loader(options(2));
  std::set<std::pair<std::int64_t, std::int64_t>> seen;
  int padding = 0, bad = 0;
  for (int i = 0; i < 3; ++i) {
    const auto step = source->next();
    for (const SlotBatch& slot : step.slots) {
      ASSERT_EQ(slot.image_BCHW.sizes(), (std::vector<std::int64_t>{2, 3, kPx, kPx}));
      for (std::size_t row = 0; row < 2; ++row) {
        const SamplePosition at = slot.samples[row];
        const at::Tensor pixels = slot.image_BCHW[static_cast<std::int64_t>(row)];
        if (slot.live[row]) {
          const auto key = readers[static_cast<std::size_t>(at.shard)]->key(at.sample);
          EXPECT_EQ(slot.captions[row], key + " " + "abc"[slot.caption_choice[row]]);
          EXPECT_NEAR(pixels[1].mean().item<float>(), (90.0F / 255 - 0.5F) / 0.5F, 0.02);
        } else {
          EXPECT_EQ(pixels.abs().max().item<float>(), 0);
          EXPECT_EQ(slot.captions[row], "");
          (at.sample < 0 ? padding : bad) += 1;
        }
        if (at.sample >= 0) {
          EXPECT_TRUE(seen.emplace(at.shard, at.sample).second);
        }
      }
    }
    if (!step.bad.empty()) {
      EXPECT_EQ(step.bad, (std::map<std::string, std::int64_t>{{"unknown_format", 1}}));
    }
  }
  EXPECT_EQ(seen.size(), 21U);
  EXPECT_EQ(padding, 3);
  EXPECT_EQ(bad, 1);
}

TEST_F(LoaderTest, CaptionsVaryByEpoch) {
  LoaderOptions texts = options(2);
  texts.images = false;
  const auto source = loader(texts);
  std::map<std::pair<std::int64_t, std::int64_t>, std::set<std::int64_t>> drawn;
  for (int i = 0; i < 3 * 12; ++i) {
    for (const SlotBatch& slot : source->next().slots) {
      EXPECT_FALSE(slot.image_BCHW.defined());
      for (std::size_t row = 0; row < 2; ++row) {
        if (slot.live[row])
          drawn[{slot.samples[row].shard, slot.samples[row].sample}].insert(slot.caption_choice[row]);
      }
    }
  }
  std::size_t choices = 0;
  for (const auto& [sample, set] : drawn) choices += set.size();
  EXPECT_EQ(drawn.size(), 21U);  // positions only: nothing is decoded, nothing is bad
  EXPECT_GT(choices, 58U);       // of 63; 12 draws of 3
}

TEST_F(LoaderTest, SyntheticCaptionsStandBesideTheTexts) {
  for (const bool captions : {true, false}) {
    LoaderOptions texts = options(2);
    texts.images = false;
    texts.captions = captions;
    texts.synthetic_caption = "told";
    const auto source = loader(texts);
    std::int64_t missing = 0;
    for (int i = 0; i < 3; ++i) {
      const auto step = source->next();
      if (step.bad.contains("no_synthetic_caption")) missing += step.bad.at("no_synthetic_caption");
      for (const SlotBatch& slot : step.slots)
        for (std::size_t row = 0; row < 2; ++row) {
          const auto [shard, sample] = slot.samples[row];
          const bool padding = sample < 0;
          EXPECT_EQ(slot.live[row] != 0, !padding && sample != 5);
          const std::string key = "s" + std::to_string(shard) + "-" + std::to_string(sample);
          EXPECT_EQ(slot.synthetic_captions[row], slot.live[row] ? "a picture " + key : "");
          EXPECT_EQ(slot.captions[row].empty(), !captions || !slot.live[row]);
        }
    }
    EXPECT_EQ(missing, 3) << "one sample of each shard has no .json";
  }
}

// The second caption is told as the synthetic one and never drawn; texts come from the next shard's sample.
TEST_F(LoaderTest, OwnCaptionsAndCaptionsOfOthers) {
  LoaderOptions texts = options(2);
  texts.images = false;
  texts.synthetic_caption = "own:2";
  texts.own_caption = 1;
  for (std::int64_t shard = 0; shard < 3; ++shard) {
    texts.captions_of.emplace_back();
    for (std::int64_t i = 0; i < kSamples; ++i)
      texts.captions_of.back().push_back({(shard + 1) % 3, (i + 2) % kSamples});
  }
  const auto source = loader(texts);
  std::set<std::string> endings;
  for (int i = 0; i < 12; ++i)
    for (const SlotBatch& slot : source->next().slots)
      for (std::size_t row = 0; row < 2; ++row) {
        const auto [shard, sample] = slot.samples[row];
        if (sample < 0) continue;
        ASSERT_EQ(slot.live[row], 1);
        EXPECT_EQ(slot.synthetic_captions[row],
                  "s" + std::to_string(shard) + "-" + std::to_string(sample) + " b");
        const std::string other =
            "s" + std::to_string((shard + 1) % 3) + "-" + std::to_string((sample + 2) % kSamples);
        EXPECT_EQ(slot.captions[row].substr(0, other.size()), other);
        EXPECT_EQ(slot.captions[row].substr(other.size()), slot.caption_choice[row] == 0 ? " a" : " c");
        endings.insert(slot.captions[row].substr(other.size()));
      }
  EXPECT_EQ(endings.size(), 2U);
}

TEST_F(LoaderTest, KeptBatchesAreNotOverwritten) {
  const auto source = loader(options(2));
  std::vector<at::Tensor> kept, copies;
  for (int i = 0; i < 12; ++i) {
    const auto step = source->next();
    const at::Tensor view = step.slots[0].image_BCHW.narrow(0, 0, 1);  // the batch goes, a view stays
    kept.push_back(view);
    copies.push_back(view.clone());
  }
  for (std::size_t i = 0; i < kept.size(); ++i) EXPECT_TRUE(kept[i].equal(copies[i])) << i;
}

TEST_F(LoaderTest, LeavesWhilePrefetchingAndKeepsTheCallersThreadCount) {
  const int before = at::get_num_threads();
  for (int i = 0; i < 20; ++i) {
    const auto source = loader(options(1 + i % 4));
    if (i % 2) source->next();
    if (i % 3 == 0) source->seek(i, 1);
  }
  EXPECT_EQ(at::get_num_threads(), before);
}

TEST_F(LoaderTest, RefusesWhatCannotWork) {
  LoaderOptions odd = options(1);
  odd.global_batch = 9;
  EXPECT_THROW(loader(odd), Error);
  const auto none = std::make_shared<SampleOrder>(std::vector<ManifestShard>(3), 1);
  BatchLoader empty(readers, hashes, none, {}, {}, options(1));
  EXPECT_THROW(empty.next(), Error);
}

}  // namespace
}  // namespace trireme::worker::data
