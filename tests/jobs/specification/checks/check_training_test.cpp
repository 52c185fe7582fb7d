#include "jobs/specification/checks/check_training.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "jobs/specification/job_spec.h"

namespace trireme::jobs {
namespace {

// Everything at once: what a combined job says.
const char* const kJob = R"({
  "apiVersion": "trireme/v1", "kind": "Pipeline", "name": "combined",
  "spec": {
    "output": "runs/combined",
    "data": {"train": {"path": "a"}, "sheet": "c.csv"},
    "models": {
      "m": {"image": {"image_px": 32, "patch_px": 8, "width": 32, "layers": 2, "heads": 2},
            "text": {"width": 32, "layers": 2, "heads": 2, "context": 16}, "embed_dim": 32}},
    "stages": [
      {"name": "train", "kind": "train", "data": "train", "model": "m", "global_batch": 64,
       "loss": {"texts": "both", "label_smoothing": 0.1, "hard_negatives": {"alpha": 0.999, "beta": 0.25},
                "gates": {"sample": true, "text": true, "caption": true}},
       "concepts": {"sampling": "square_root", "heads": [
         {"name": "objects", "field": "objects", "vocabulary": ["cat", "dog", "tree"], "top_k": 2},
         {"name": "attributes", "field": "attributes", "vocabulary": ["red", "blue"], "top_k": 0}]},
       "micro_batch": 4,
       "optimizer": {"kind": "lamb", "schedule": "one_cycle", "decay_on": "all",
                     "groups": [{"names": "concepts.*", "learning_rate_factor": 10, "weight_decay_factor": 0.01}]},
       "average": {"decay": 0.99},
       "guard": {"on_non_finite": "rollback"}}
    ]
  }
})";

std::string all_of(const std::vector<SpecFault>& faults) {
  std::string out;
  for (const auto& f : faults) out += f.pointer + " [" + f.code + "] " + f.detail + " | " + f.hint + "\n";
  return out;
}

TEST(CheckTraining, EverythingTogetherIsFine) {
  const ReadResult result = read_job(kJob);
  ASSERT_TRUE(result.ok()) << all_of(result.faults);
  const auto& train = std::get<TrainSettings>(result.job.spec.stages[0].settings);
  EXPECT_EQ(train.concepts.heads[0].vocabulary.size(), 3U);
  EXPECT_EQ(train.concepts.heads[1].weight, 1);
  EXPECT_EQ(train.optimizer.groups[0].learning_rate_factor, 10);
  EXPECT_EQ(train.optimizer.one_cycle.beta1_low, 0.85);
  EXPECT_EQ(train.synthetic_caption, "synthetic_caption");
  EXPECT_TRUE(train.loss.any_gate());
  const auto again =
      std::get<TrainSettings>(settings_from_json("train", settings_json(result.job.spec.stages[0].settings)));
  EXPECT_EQ(again.concepts.heads[1].vocabulary[1], "blue");
}

TEST(CheckTraining, EveryRuleHasItsFault) {
  const struct {
    const char *override_text, *pointer, *code, *words;
  } cases[] = {
      {"loss.kind=hinge", "loss/kind", "unknown_name", "sigmoid"},
      {"loss.hard_negatives.alpha=0", "loss/hard_negatives/alpha", "out_of_range", ""},
      {"loss.hard_negatives.alpha=1.1", "loss/hard_negatives/alpha", "out_of_range", "largest value 1"},
      {"loss.hard_negatives.beta=-0.1", "loss/hard_negatives/beta", "out_of_range", ""},
      {"loss.gates.gamma_sample=-1", "loss/gates/gamma_sample", "out_of_range", ""},
      {"loss.gates.gamma_pair=1000", "loss/gates/gamma_pair", "out_of_range", ""},
      {"loss.gates.momentum=1", "loss/gates/momentum", "invalid", "never move"},
      {"loss.label_smoothing=1", "loss/label_smoothing", "out_of_range", ""},
      {"loss.label_smoothing=NaN", "loss/label_smoothing", "wrong_type", ""},
      {"loss.negative_fraction=0", "loss/negative_fraction", "out_of_range", ""},
      {"loss.temperature.initial=0", "loss/temperature/initial", "out_of_range", ""},
      {"loss.temperature.initial=0.005", "loss/temperature/initial", "out_of_range", "clamps"},
      {"loss.temperature.initial=2", "loss/temperature/initial", "out_of_range", "clamps"},
      {"loss.texts=raw", "loss/gates/sample", "invalid", "synthetic captions"},
      {"loss.texts=caption", "loss/gates/caption", "invalid", "\"both\""},
      {"loss.kind=sigmoid", "loss/label_smoothing", "invalid", "no denominator"},
      {"loss.kind=sigmoid", "loss/hard_negatives/alpha", "invalid", "no denominator"},
      {"loss.kind=sigmoid", "loss/hard_negatives/beta", "invalid", "no denominator"},
      {"data=sheet", "loss/texts", "invalid", "table"},
      {"data=sheet", "concepts/heads", "invalid", "table"},
      {"synthetic_caption=\"\"", "synthetic_caption", "out_of_range", ""},
      {"global_batch=1", "global_batch", "out_of_range", "least value 2"},
      {"concepts.heads.0.top_k=4", "concepts/heads/0/top_k", "out_of_range", "beyond a vocabulary of 3"},
      {"concepts.heads.0.vocabulary=[\"cat\",\"dog\",\"cat\"]", "concepts/heads/0/vocabulary/2",
       "duplicate_name", "twice"},
      {"concepts.heads.0.vocabulary=[\"cat\",\"\"]", "concepts/heads/0/vocabulary/1", "invalid", "empty"},
      {"concepts.heads.1.vocabulary=[\"red\"]", "concepts/heads/1/vocabulary", "out_of_range", "at least 2"},
      {"concepts.heads.1.name=objects", "concepts/heads/1/name", "duplicate_name", ""},
      {"concepts.heads.1.name=a b", "concepts/heads/1/name", "invalid", "a-z"},
      {"concepts.heads=[]", "concepts/sampling", "invalid", "heads"},
      {"concepts.heads.0.weight=-1", "concepts/heads/0/weight", "out_of_range", ""},
      {"optimizer.kind=adam", "optimizer/kind", "unknown_name", "adamw"},
      {"optimizer.warmup_steps=10", "optimizer/warmup_steps", "invalid", "one_cycle"},
      {"optimizer.one_cycle.beta1_low=0.96", "optimizer/one_cycle/beta1_high", "invalid", "beta1_low"},
      {"optimizer.groups=[{\"names\":\"a\"},{\"names\":\"a\"}]", "optimizer/groups/1/names", "duplicate_name",
       "twice"},
      {"optimizer.groups=[{}]", "optimizer/groups/0/names", "missing", ""},
      {"average.decay=1", "average/decay", "out_of_range", ""},
      {"guard.on_non_finite=panic", "guard/on_non_finite", "unknown_name", "rollback"},
      {"micro_batch=-1", "micro_batch", "out_of_range", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.override_text);
    const auto faults = read_job(kJob, {std::string("spec.stages.train.") + c.override_text}).faults;
    const std::string pointer = std::string("/spec/stages/0/") + c.pointer;
    EXPECT_TRUE(std::ranges::any_of(faults,
                                    [&](const SpecFault& f) {
                                      return f.pointer == pointer && f.code == c.code &&
                                             (f.detail + f.hint).find(c.words) != std::string::npos;
                                    }))
        << pointer << "\ngot:\n"
        << all_of(faults);
  }
}

TEST(CheckTraining, TheModelsClampsBoundTheTemperature) {
  const std::string high = "spec.models.m.logit_scale_max=5", fixed = "spec.stages.train.loss.temperature=";
  EXPECT_TRUE(read_job(kJob, {high, fixed + R"({"initial":0.0078125,"learnt":false})"}).ok());
  EXPECT_TRUE(read_job(kJob, {fixed + R"({"parameter":"sigma"})"}).ok());
  const auto faults =
      read_job(kJob, {"spec.models.m.logit_scale_min=1", fixed + R"({"parameter":"sigma"})"}).faults;
  ASSERT_EQ(faults.size(), 1U) << all_of(faults);
  EXPECT_EQ(faults[0].pointer, "/spec/stages/0/loss/temperature/initial");
  const auto below = read_job(kJob, {"spec.models.m.logit_scale_init=-1"}).faults;
  ASSERT_EQ(below.size(), 1U) << all_of(below);
  EXPECT_EQ(below[0].pointer, "/spec/models/m/logit_scale_init");
}

}  // namespace
}  // namespace trireme::jobs
