#include "worker/stages/pair_scores/pair_scores_stage.h"

#include <cmath>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "tests/worker/stages/support/stage_fixture.h"
#include "worker/checkpoint/features.h"
#include "worker/data/batches/scores.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::stages::pair_scores {
namespace {

using testing::test_jpeg;

class PairScoresTest : public testing::StageTest {
 protected:
  // Five samples; the third has no embedding, the fourth no caption.
  jobs::Task task_of() {
    std::vector<testing::TestSample> samples;
    for (int i = 0; i < 5; ++i) samples.push_back({"k" + std::to_string(i), test_jpeg(40, 40, i), "a dog"});
    auto task = shard_task("s", samples);
    task.shard->sha256 = "abc";
    task.settings = jobs::settings_json(jobs::PairScoresSettings{.data = {"train"}, .model = "m"});
    return task;
  }

  checkpoint::Features features_of(const std::string& space) {
    checkpoint::Features features;
    features.space = space;
    features.sample = at::tensor({0, 1, 3, 4}, at::kLong);
    features.image = at::randn({4, 32});
    features.text = at::randn({5, 32});
    features.text_owner = at::tensor({0, 0, 0, 1, 3}, at::kLong);
    return features;
  }

  jobs::TaskDone run(jobs::Task task, const checkpoint::Features& features) {
    const std::string path = out("features", ".safetensors");
    checkpoint::write_features(path, features);
    task.inputs.push_back(input(jobs::Role::kFeatures, path));
    return PairScoresStage().run(task, context_);
  }

  // sum(a b) / sqrt(sum(a a) sum(b b)) by float64 tensors.
  static double cosine(const at::Tensor& a, const at::Tensor& b) {
    const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
    return ((x * y).sum() / (x.norm() * y.norm())).item<double>();
  }
};

TEST_F(PairScoresTest, BestCosineOfACaption) {
  at::manual_seed(1);
  const auto features = features_of("shared");
  const auto done = run(task_of(), features);
  EXPECT_EQ(done.counts,
            (std::map<std::string, std::int64_t>{{"scored", 3}, {"no_caption", 1}, {"not_finite", 0}}));
  const auto scores = data::read_scores(done.outputs.at(0).path, data::kSimilarity, "abc");
  ASSERT_EQ(scores.size(), 3U);
  double best = -1;
  for (int row = 0; row < 3; ++row) best = std::max(best, cosine(features.image[0], features.text[row]));
  EXPECT_NEAR(scores.at("k0"), best, 1e-12);
  EXPECT_NEAR(scores.at("k1"), cosine(features.image[1], features.text[3]), 1e-12);
  EXPECT_NEAR(scores.at("k4"), cosine(features.image[3], features.text[4]), 1e-12);
}

TEST_F(PairScoresTest, TowersGoThroughTheProjections) {
  at::manual_seed(2);
  const auto features = features_of("tower");
  auto task = task_of();
  EXPECT_THROW(run(task, features), Error);  // no model to project with
  const auto spec = testing::small_model(true);
  task.model = jobs::model_json(spec);
  const auto scores = data::read_scores(run(task, features).outputs.at(0).path, data::kSimilarity, "abc");
  models::DualEncoder model(spec, 0);
  const at::NoGradGuard no_gradients;
  EXPECT_NEAR(scores.at("k4"),
              cosine(model.project_image(features.image)[3], model.project_text(features.text)[4]), 1e-6);
}

TEST_F(PairScoresTest, EmbeddingsWithoutDirectionHaveNoScore) {
  auto features = features_of("shared");
  features.image[1].zero_();
  features.text[1].fill_(std::nanf(""));
  const auto done = run(task_of(), features);
  EXPECT_EQ(done.counts.at("scored"), 1);
  EXPECT_EQ(done.counts.at("not_finite"), 2);
  EXPECT_EQ(data::read_scores(done.outputs.at(0).path, data::kSimilarity, "abc").count("k4"), 1U);
  features.text = features.text_owner = at::Tensor();
  EXPECT_THROW(run(task_of(), features), Error);
}

}  // namespace
}  // namespace trireme::worker::stages::pair_scores
