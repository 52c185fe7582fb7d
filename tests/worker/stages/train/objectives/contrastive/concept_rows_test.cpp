#include "worker/stages/train/objectives/contrastive/concept_rows.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>

#include "common/base/error.h"
#include "jobs/specification/stages/concept_vocabulary.h"
#include "tests/support/tar_writer.h"
#include "worker/checkpoint/concept_labels.h"
#include "worker/stages/train/objectives/contrastive/concept_targets.h"

namespace trireme::worker::stages::train {
namespace {

const std::vector<std::string> kNames = {"dog", "snow", "ball", "cat"};

class ConceptRowsTest : public ::testing::Test {
 protected:
  ConceptRowsTest()
      : folder_(io::Path(::testing::TempDir()) / "trireme-concept-rows" /
                ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(folder_);
    testing::TarWriter tar;
    const std::vector<std::string> captions = {
        "a dog runs in the snow", "a cat", "blue sky", "two dogs, a ball", "a zebra and a cat", "snow"};
    for (std::size_t i = 0; i < captions.size(); ++i) {
      tar.add("k" + std::to_string(i) + ".jpg", "x");
      tar.add("k" + std::to_string(i) + ".txt", captions[i]);
    }
    const io::Path path = folder_ / "0.tar";
    io::write_file_atomic(path, tar.bytes(), false);
    data::build_shard_index(path, jobs::DataFormat::kWebdataset, {}, path.string() + ".idx");
    DataShard shard;
    shard.ref = {.data = "train", .shard = 0, .path = path.string()};
    shard.ref.sha256 = std::string(64, 'c');
    shard.ref.samples = 6;
    shard.reader = std::make_shared<data::ShardReader>(path, path.string() + ".idx");
    shard.kept = {0, 1, 2, 3, 5};
    set_.shards.push_back(shard);
    vocabulary_.lists = {{"objects", {}}};
    for (const auto& name : kNames) vocabulary_.lists[0].concepts.push_back({name, -1, "", ""});
    vocabulary_.teacher = "77";
    head_ = {.name = "h", .from = "stage:labels", .field = "objects", .top_k = 2};
  }

  static checkpoint::ConceptLabels labels(std::int64_t first, const std::vector<std::int64_t>& samples,
                                          const std::vector<std::int64_t>& bad = {}) {
    checkpoint::ConceptLabels made;
    made.shard = std::string(64, 'c');
    made.teacher = "77";
    made.first = first;
    made.count = 3;
    made.sample = at::tensor(samples, at::kLong);
    std::vector<std::int64_t> keys;
    for (const auto sample : samples) keys.push_back(checkpoint::key_hash("k" + std::to_string(sample)));
    made.key = at::tensor(keys, at::kLong);
    made.bad = at::tensor(bad, at::kLong);
    const auto n = static_cast<std::int64_t>(samples.size());
    made.lists = {{"objects", checkpoint::vocabulary_hash(kNames), 4,
                   at::tensor({3, 1, 0}, at::kInt).expand({n, 3}).contiguous(),
                   at::tensor({0.5, 0.3, 0.2}, at::kFloat).expand({n, 3}).contiguous(), at::ones({n})}};
    return made;
  }

  std::vector<jobs::InputsLine> inputs(const std::vector<checkpoint::ConceptLabels>& files) {
    std::vector<jobs::InputsLine> lines;
    const auto add = [&](jobs::Role role, std::int64_t first, const io::Path& path) {
      lines.push_back({{},
                       jobs::InputFile{.role = role,
                                       .stage = "labels",
                                       .data = "train",
                                       .shard = 0,
                                       .first = first,
                                       .path = path.string()}});
    };
    const auto path = folder_ / "v.json";
    io::write_file_atomic(path, jobs::to_json(vocabulary_));
    add(jobs::Role::kConceptVocabulary, -1, path);
    for (std::size_t i = 0; i < files.size(); ++i) {
      const auto file = folder_ / (std::to_string(i) + ".labels");
      checkpoint::write_concept_labels(file, files[i]);
      add(jobs::Role::kConcepts, files[i].first, file);
    }
    return lines;
  }

  std::string refusal(const std::vector<checkpoint::ConceptLabels>& files) {
    const auto lines = inputs(files);
    jobs::ConceptsSpec spec{.heads = {head_}};
    resolve_vocabularies(spec, lines);
    try {
      concept_rows(set_, spec.heads[0], lines);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
      return error.what();
    }
    return "";
  }

  io::Path folder_;
  DataSet set_;
  jobs::ConceptVocabularies vocabulary_;
  jobs::ConceptHeadSpec head_;
};

TEST_F(ConceptRowsTest, LabelsAreJoinedAndFeedTheHeads) {
  const auto lines = inputs({labels(0, {0, 2}, {1}), labels(3, {3, 4, 5})});
  jobs::ConceptsSpec spec{.heads = {head_}};
  resolve_vocabularies(spec, lines);
  EXPECT_EQ(spec.heads[0].vocabulary, kNames);
  auto sources = concept_sources(spec);
  join_concepts(set_, spec, lines, sources);
  data::SlotBatch batch;
  batch.samples = {{0, 0}, {0, 1}, {0, 5}};
  batch.live = {1, 1, 1};
  std::map<std::string, std::int64_t> counts;
  const auto targets = concept_targets(set_, sources[0], batch, counts);
  EXPECT_TRUE(at::equal(targets.index_Bk[0], at::tensor({3, 1}, at::kLong))) << "the two most probable";
  EXPECT_TRUE(at::allclose(targets.weight_Bk[2], at::tensor({0.625, 0.375}, at::kFloat))) << "renormalised";
  EXPECT_EQ(targets.weight_Bk[1].sum().item<double>(), 0) << "the teacher could not decode it";
  EXPECT_EQ(counts, (std::map<std::string, std::int64_t>{{"h.missing", 1}}));
}

TEST_F(ConceptRowsTest, AMissingOrStaleSidecarIsAnErrorWithACount) {
  EXPECT_EQ(refusal({labels(0, {0, 1, 2}), labels(3, {3, 5})}), "");
  const auto missing = refusal({labels(0, {0, 1, 2})});
  EXPECT_NE(missing.find("of 5 samples"), std::string::npos) << missing;
  EXPECT_NE(missing.find("2 have none"), std::string::npos) << missing;
  EXPECT_NE(missing.find("stage 'labels'"), std::string::npos) << missing;
  EXPECT_NE(missing.find("k3"), std::string::npos) << missing;
  auto other = labels(3, {3, 5});
  other.teacher = "78";
  EXPECT_NE(refusal({labels(0, {0, 1, 2}), other}).find("2 have labels of another teacher"),
            std::string::npos);
  other = labels(3, {3, 5});
  other.shard[0] = 'd';
  EXPECT_NE(refusal({labels(0, {0, 1}), other}).find("1 have none, 2 have labels of another shard"),
            std::string::npos);
  other = labels(3, {3, 5});
  other.lists[0].vocabulary = "0";
  EXPECT_NE(refusal({labels(0, {0, 1, 2}), other}).find("2 have labels over another vocabulary"),
            std::string::npos);
  other = labels(3, {3, 5});
  other.lists[0].name = "attributes";
  EXPECT_NE(refusal({labels(0, {0, 1, 2}), other}).find("without vocabulary 'objects'"), std::string::npos);
  other = labels(3, {3, 5});
  other.key[1] = 4;
  EXPECT_NE(refusal({labels(0, {0, 1, 2}), other}).find("1 have labels under another key"),
            std::string::npos);
}

TEST_F(ConceptRowsTest, WhatCaptionsNameSharesAlike) {
  head_.from = "captions";
  head_.vocabulary_from = "stage:labels";
  head_.top_k = 0;
  const auto lines = inputs({});
  jobs::ConceptsSpec spec{.heads = {head_}};
  resolve_vocabularies(spec, lines);
  set_.shards[0].kept = {0, 1, 2, 3, 4, 5};
  const auto rows = concept_rows(set_, spec.heads[0], lines);
  ASSERT_EQ(rows.size(), 1U);
  data::Concepts concepts;
  std::int64_t beyond = 0;
  EXPECT_EQ(rows[0]->read(0, 0, concepts, beyond), data::ConceptFault::kNone);
  EXPECT_EQ(concepts.index, (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(concepts.probability, (std::vector<double>{0.5, 0.5}));
  EXPECT_EQ(beyond, 0);
  EXPECT_EQ(rows[0]->read(4, 0, concepts, beyond), data::ConceptFault::kNone);
  EXPECT_EQ(concepts.index, (std::vector<std::int64_t>{3}));
  EXPECT_EQ(beyond, 1) << "the zebra";
  EXPECT_EQ(rows[0]->read(2, 0, concepts, beyond), data::ConceptFault::kMissing)
      << "no sky in the vocabulary";
}

TEST_F(ConceptRowsTest, SquareRootSamplingOfLabels) {
  const auto lines = inputs({labels(0, {0, 1, 2}), labels(3, {3, 5})});
  jobs::ConceptsSpec spec{.heads = {head_}};
  resolve_vocabularies(spec, lines);
  auto sources = concept_sources(spec);
  join_concepts(set_, spec, lines, sources);
  sample_by_square_root(set_, sources);
  for (const float times : set_.shards[0].times) EXPECT_NEAR(times, 1, 1e-6) << "all have the same concepts";
}

TEST_F(ConceptRowsTest, VocabulariesThatDoNotFit) {
  const auto lines = inputs({});
  const auto refused = [&](jobs::ConceptHeadSpec head) -> std::string {
    jobs::ConceptsSpec spec{.heads = {head}};
    try {
      resolve_vocabularies(spec, lines);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  head_.field = "verbs";
  EXPECT_NE(refused(head_).find("no vocabulary 'verbs'"), std::string::npos);
  head_ = {
      .name = "h", .from = "captions", .field = "objects", .vocabulary_from = (folder_ / "v.json").string()};
  EXPECT_NE(refused(head_).find("top_k 10 is beyond the vocabulary of 4"), std::string::npos);
  head_.top_k = 4;
  EXPECT_EQ(refused(head_), "");
}

}  // namespace
}  // namespace trireme::worker::stages::train
