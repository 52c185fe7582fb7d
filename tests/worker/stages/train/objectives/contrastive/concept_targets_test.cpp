#include "worker/stages/train/objectives/contrastive/concept_targets.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>

#include "common/base/error.h"
#include "tests/support/tar_writer.h"
#include "worker/stages/train/inputs/text_choice.h"

namespace trireme::worker::stages::train {
namespace {

// Samples in one shard, each with the given .json ("" for none).
DataSet set_of(const std::vector<std::string>& jsons) {
  const io::Path folder = io::Path(::testing::TempDir()) / "trireme-concepts" /
                          ::testing::UnitTest::GetInstance()->current_test_info()->name();
  std::filesystem::remove_all(folder);
  testing::TarWriter tar;
  for (std::size_t i = 0; i < jsons.size(); ++i) {
    tar.add(std::to_string(i) + ".jpg", "x");
    tar.add(std::to_string(i) + ".txt", "a text");
    if (!jsons[i].empty()) tar.add(std::to_string(i) + ".json", jsons[i]);
  }
  const io::Path path = folder / "0.tar";
  io::write_file_atomic(path, tar.bytes(), false);
  data::build_shard_index(path, jobs::DataFormat::kWebdataset, {}, path.string() + ".idx");
  DataSet set;
  DataShard shard;
  shard.reader = std::make_shared<data::ShardReader>(path, path.string() + ".idx");
  for (std::size_t i = 0; i < jsons.size(); ++i) shard.kept.push_back(static_cast<std::int32_t>(i));
  set.shards.push_back(shard);
  return set;
}

std::vector<ConceptSource> sources(std::int64_t top_k = 0) {
  return concept_sources({.heads = {{.name = "objects",
                                     .field = "objects",
                                     .vocabulary = {"dog", "snow", "ball", "cat"},
                                     .top_k = top_k}}});
}

TEST(ConceptTargets, RowsOfASlotWithCountsOfWhatIsMissing) {
  const auto set = set_of({R"({"objects": {"dog": 0.4, "snow": 0.1, "ball": 0.3, "cat": 0.2}})",
                           R"({"objects": ["cat", "zebra", "quark"]})", "", R"({"objects": 7})", "{}"});
  data::SlotBatch batch;
  for (std::int64_t i : {0, 1, 2, 3, 4, -1, 0}) batch.samples.push_back({i < 0 ? -1 : 0, i});
  batch.live = {1, 1, 1, 1, 1, 0, 0};  // padding, and a bad sample
  std::map<std::string, std::int64_t> counts;
  const auto targets = concept_targets(set, sources(3)[0], batch, counts);
  EXPECT_TRUE(at::equal(targets.index_Bk[0], at::tensor({0, 2, 3}, at::kLong)));
  EXPECT_TRUE(at::allclose(targets.weight_Bk[0], at::tensor({0.4 / 0.9, 0.3 / 0.9, 0.2 / 0.9}, at::kFloat)));
  EXPECT_TRUE(at::equal(targets.weight_Bk[1], at::tensor({1.0, 0.0, 0.0}, at::kFloat)));
  EXPECT_EQ(targets.index_Bk[1][0].item<std::int64_t>(), 3);
  EXPECT_EQ(targets.weight_Bk.narrow(0, 2, 5).sum().item<double>(), 0);
  const std::map<std::string, std::int64_t> expected{
      {"objects.beyond_vocabulary", 2}, {"objects.malformed", 1}, {"objects.missing", 2}};
  EXPECT_EQ(counts, expected);
}

TEST(ConceptTargets, SquareRootSamplingDrawsConceptsByTheRootOfTheirFrequency) {  // METHODS 10.6
  std::vector<std::string> jsons;
  const std::vector<std::pair<const char*, int>> classes{{"dog", 100}, {"snow", 25}, {"ball", 1}};
  for (const auto& [name, count] : classes)
    for (int i = 0; i < count; ++i) jsons.push_back(std::string("{\"objects\": [\"") + name + "\"]}");
  jsons.emplace_back("{}");
  auto set = set_of(jsons);
  sample_by_square_root(set, sources());
  const auto& times = set.shards[0].times;
  ASSERT_EQ(times.size(), 127U);
  EXPECT_EQ(times.back(), 1) << "without a concept: once";
  std::vector<double> shares;
  double all = 0;
  std::size_t at = 0;
  for (const auto& [name, count] : classes) {
    double sum = 0;
    for (int i = 0; i < count; ++i) sum += static_cast<double>(times[at++]);
    shares.push_back(sum);
    all += sum;
  }
  EXPECT_NEAR(all, 126, 1e-3) << "an epoch stays as long";
  const double expected[] = {.625, .3125, .0625};  // by the roots 10, 5 and 1
  for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(shares[c] / all, expected[c], 1e-6);
}

TEST(ConceptTargets, WhatNobodyHasIsRefusedByName) {
  const auto set = set_of({"{}", R"({"objects": ["zebra"], "told": "a dog"})"});
  EXPECT_NO_THROW(require_synthetic_captions(set, "told"));
  EXPECT_THROW(require_synthetic_captions(set, "tell"), Error);
  EXPECT_THROW(require_labels(set), Error);
  try {
    require_concepts(set, sources());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    EXPECT_NE(std::string(error.what()).find("'objects'"), std::string::npos);
  }
}

}  // namespace
}  // namespace trireme::worker::stages::train
