#include "worker/stages/concepts/concepts_stage.h"

#include <ATen/ATen.h>

#include <cstdlib>
#include <sstream>

#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/checkpoint/concept_labels.h"
#include "worker/checkpoint/features.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/data/batches/image_batch.h"
#include "worker/embedding/texts.h"
#include "worker/models/towers/concept_heads.h"

namespace trireme::worker::stages::concepts {
namespace {

using testing::test_jpeg;

class ConceptsTest : public testing::StageTest {
 protected:
  ConceptsTest() {
    settings_.data = {"train"};
    settings_.teacher = (folder_ / "model").string();
    settings_.vocabulary = vocabulary({"dog", "cat", "bird", "tree", "boat"});
    settings_.top_k = 3;
    settings_.batch = 3;
    models::DualEncoder(testing::small_model(false), 0).save(settings_.teacher, "{}");
  }

  std::string vocabulary(const std::vector<std::string>& names) {
    jobs::ConceptVocabularies made{{{"objects", {}}}, ""};
    for (const auto& name : names) made.lists[0].concepts.push_back({name, -1, "", ""});
    const auto path = (folder_ / ("v" + std::to_string(names.size()) + ".json")).string();
    io::write_file_atomic(path, jobs::to_json(made));
    return path;
  }

  static std::vector<testing::TestSample> samples() {
    std::vector<testing::TestSample> all;
    for (int i = 0; i < 10; ++i)
      all.push_back(
          {"k" + std::to_string(10 + i), i == 4 ? "no picture" : test_jpeg(48 + i, 40, i), "a text"});
    return all;
  }

  // Both phases.
  checkpoint::ConceptLabels run(jobs::Task task, const std::string& name, jobs::TaskDone* done = nullptr) {
    task.settings = jobs::settings_json(settings_);
    jobs::Task first = task;
    first.shard.reset();
    first.output = out(name + "-teacher", "");
    const auto settled = ConceptTeacherStage().run(first, context_).outputs.at(0).path;
    task.inputs.push_back(input(jobs::Role::kConceptVocabulary, settled));
    task.output = out(name, "");
    task.shard->sha256 = std::string(64, 'b');
    const auto result = ConceptsStage().run(task, context_);
    if (done != nullptr) *done = result;
    return checkpoint::read_concept_labels(result.outputs.at(0).path);
  }

  std::string refusal() {
    jobs::Task task;
    task.stage = "labels";
    task.settings = jobs::settings_json(settings_);
    task.output = out("refused", "");
    try {
      ConceptTeacherStage().run(task, context_);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  jobs::ConceptsSettings settings_;
};

TEST_F(ConceptsTest, ATrainedModelByPrompts) {
  jobs::TaskDone done;
  const auto labels = run(shard_task("s", samples()), "a", &done);
  EXPECT_TRUE(at::equal(labels.sample, at::tensor({0, 1, 2, 3, 5, 6, 7, 8, 9}, at::kLong)));
  EXPECT_TRUE(at::equal(labels.bad, at::tensor({4}, at::kLong)));
  EXPECT_EQ(labels.key[4].item<std::int64_t>(), checkpoint::key_hash("k15"));
  EXPECT_EQ(done.counts.at("in"), 10);
  EXPECT_EQ(done.counts.at("labelled"), 9);
  EXPECT_EQ(done.counts.at("bad.unknown_format"), 1);
  ASSERT_EQ(labels.lists.size(), 1U);
  const auto& list = labels.lists[0];
  EXPECT_EQ(list.vocabulary, checkpoint::vocabulary_hash({"dog", "cat", "bird", "tree", "boat"}));
  // By hand: softmax of exp(logit_scale) cosines with the prompts, three largest, renormalised.
  const at::NoGradGuard no_gradients;
  models::DualEncoder model(testing::small_model(false), 0);
  auto text = embedding::encode_texts(model, "cpu",
                                      {"a photo of a dog.", "a photo of a cat.", "a photo of a bird.",
                                       "a photo of a tree.", "a photo of a boat."},
                                      true)
                  .rows;
  text = text / text.norm(2, {1}, true);
  data::Image picture;
  ASSERT_EQ(data::decode_image(test_jpeg(55, 40, 7), {}, picture), "");
  auto image = at::empty({1, 3, 32, 32}, at::kFloat);
  const auto preprocess = model.image_preprocess();
  data::evaluation_view(picture, preprocess, image.data_ptr<float>());
  const auto p =
      at::softmax(model.encode_image(image).matmul(text.t()) * model.logit_scale().exp(), 1).squeeze(0);
  const auto [values, order] = p.topk(3);
  EXPECT_TRUE(at::equal(list.index_Nk[6].to(at::kLong), order));
  EXPECT_TRUE(at::allclose(list.weight_Nk[6], values / values.sum(), 1e-4, 1e-5));
  EXPECT_NEAR(list.mass_N[6].item<double>(), values.sum().item<double>(), 1e-4);
}

TEST_F(ConceptsTest, BytesDependOnTheRangeAlone) {
  const auto task = shard_task("s", samples());
  run(task, "one");
  context_.threads = 4;
  run(task, "four");
  const auto bytes = io::read_file(out("one", ".concepts.safetensors"));
  EXPECT_EQ(io::read_file(out("four", ".concepts.safetensors")), bytes);
}

TEST_F(ConceptsTest, HeadsOfAModelAndStoredFeatures) {
  models::DualEncoder(testing::small_model(true), 0).save(settings_.teacher, "{}");
  settings_.vocabulary.clear();
  EXPECT_NE(refusal().find("has no concept heads"), std::string::npos) << refusal();
  models::SavedHeads heads;
  heads.vocabularies.lists = {{"objects", {{"dog", -1, "", ""}, {"cat", -1, "", ""}, {"bird", -1, "", ""}}},
                              {"colours", {{"red", -1, "", ""}, {"blue", -1, "", ""}, {"grey", -1, "", ""}}}};
  for (int i = 0; i < 2; ++i) {
    heads.weight_VT.push_back(at::sin(at::arange(3 * 32, at::kFloat) + i).view({3, 32}));
    heads.bias_V.push_back(at::tensor({0.1, 0.0, -0.1}, at::kFloat));
  }
  models::save_heads(settings_.teacher, heads);
  auto task = shard_task("s", samples());
  jobs::TaskDone done;
  const auto seen = run(task, "seen", &done);
  ASSERT_EQ(seen.lists.size(), 2U);
  EXPECT_EQ(seen.lists[1].name, "colours");
  EXPECT_EQ(done.counts.at("stored_features"), 0);
  EXPECT_TRUE(at::allclose(seen.lists[0].mass_N, at::ones({9}))) << "all three of three";
  // Features that an embed stage stored stand for the frozen tower: the same labels without a picture.
  checkpoint::Features features;
  features.space = "tower";
  features.sample = at::tensor({0, 1, 2, 3, 5, 6, 7, 8}, at::kLong);
  features.image = at::cos(at::arange(8 * 32, at::kFloat)).view({8, 32});
  const auto path = (folder_ / "f.safetensors").string();
  checkpoint::write_features(path, features);
  task.inputs.push_back(input(jobs::Role::kFeatures, path));
  const auto stored = run(task, "stored", &done);
  EXPECT_EQ(done.counts.at("stored_features"), 8);
  EXPECT_TRUE(at::equal(stored.bad, at::tensor({4, 9}, at::kLong)));
  const auto p = at::softmax(at::linear(features.image, heads.weight_VT[0], heads.bias_V[0]), 1);
  EXPECT_TRUE(at::equal(stored.lists[0].index_Nk.select(1, 0).to(at::kLong), p.argmax(1)));
  EXPECT_TRUE(at::allclose(stored.lists[0].weight_Nk.select(1, 0), std::get<0>(p.max(1)), 1e-5, 1e-6));
}

TEST_F(ConceptsTest, WhatDoesNotFitIsRefused) {
  settings_.top_k = 6;
  EXPECT_NE(refusal().find("top_k 6 is beyond the vocabulary \"objects\" of 5"), std::string::npos)
      << refusal();
  settings_.top_k = 3;
  settings_.teacher = "pretrained:efficientnet-lite0";
  EXPECT_NE(refusal().find("has 1000 classes"), std::string::npos) << refusal();
  const auto headless = (folder_ / "headless.safetensors").string();
  checkpoint::write_safetensors(headless, {{"x", at::ones({2})}});
  settings_.teacher = headless;
  EXPECT_NE(refusal().find("holds no classifier"), std::string::npos) << refusal();
}

TEST_F(ConceptsTest, TheTeacherIsPartOfTheFile) {
  const auto task = shard_task("s", samples());
  const auto one = run(task, "one");
  settings_.templates = {"{c}"};
  const auto other = run(task, "other");
  EXPECT_NE(one.teacher, other.teacher);
  EXPECT_EQ(one.lists[0].vocabulary, other.lists[0].vocabulary);
  EXPECT_EQ(one.shard, std::string(64, 'b'));
}

// tests/oracles/record_teacher.py: the Python package and Pillow on the same photographs.
TEST_F(ConceptsTest, EfficientNetLiteSaysOfPhotographsWhatThePackageSays) {
  const char* const shared = std::getenv("TRIREME_SHARED");
  const io::Path tar =
      io::Path(shared != nullptr ? shared : TRIREME_SOURCE_DIR "/../shared") / "data/flickr8k-500/test/0.tar";
  if (!std::filesystem::exists(tar)) GTEST_SKIP() << "no " << tar << ": set TRIREME_SHARED";
  settings_ = {};
  settings_.data = {"train"};
  settings_.batch = 8;
  const auto index = folder_ / "f.idx";
  const auto scan = data::build_shard_index(tar, jobs::DataFormat::kClipBenchmark, {}, index);
  jobs::Task task;
  task.stage = "labels";
  task.data = jobs::data_json(testing::test_data());
  task.shard =
      jobs::ShardRef{.data = "train", .path = tar.string(), .format = jobs::DataFormat::kClipBenchmark};
  task.shard->samples = scan.samples;
  task.count = 16;
  task.inputs = {input(jobs::Role::kShardIndex, index.string())};
  const auto labels = run(task, "photographs");
  const data::ShardReader reader(tar, index);
  std::istringstream golden(io::read_file(TRIREME_SOURCE_DIR "/tests/golden/teacher.txt"));
  const auto& list = labels.lists.at(0);
  int first_ones = 0;
  for (std::int64_t row = 0; row < 16; ++row) {
    std::string key;
    golden >> key;
    ASSERT_EQ(key, reader.key(row));
    std::map<std::int64_t, double> theirs;
    std::int64_t first = -1;
    for (int i = 0; i < 10; ++i) {
      std::int64_t concept_at = 0;
      double probability = 0;
      golden >> concept_at >> probability;
      theirs[concept_at] = probability;
      if (i == 0) first = concept_at;
    }
    first_ones += list.index_Nk[row][0].item<std::int64_t>() == first ? 1 : 0;
    for (int i = 0; i < 10; ++i) {
      const auto found = theirs.find(list.index_Nk[row][i].item<std::int64_t>());
      const double ours = (list.weight_Nk[row][i] * list.mass_N[row]).item<double>();
      EXPECT_NEAR(ours, found == theirs.end() ? 0 : found->second, found == theirs.end() ? 0.02 : 0.01)
          << key << " " << list.index_Nk[row][i].item<std::int64_t>();
    }
  }
  EXPECT_EQ(first_ones, 16);
}

}  // namespace
}  // namespace trireme::worker::stages::concepts
