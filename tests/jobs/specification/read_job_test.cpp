#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/error.h"
#include "common/base/random.h"
#include "jobs/specification/job_spec.h"
#include "jobs/specification/json/json_document.h"

namespace trireme::jobs {
namespace {

const char* const kJob = R"({
  "apiVersion": "trireme/v1", "kind": "Pipeline", "name": "small", "labels": {"team": "tests"},
  "spec": {
    "output": "runs/small",
    "data": {
      "train": {"sources": [{"path": "a.tar", "weight": 2}, {"synthetic": {"samples": 64, "shards": 2}}]},
      "test": {"path": "b", "select": "0:400"},
      "plain": "c.csv"
    },
    "models": {
      "m": {"image": {"image_px": 32, "patch_px": 8, "width": 32, "layers": 2, "heads": 2},
            "text": {"width": 32, "layers": 2, "heads": 2, "context": 16}, "embed_dim": 32},
      "frozen": {"image": {"kind": "efficientnet_lite0", "weights": "pretrained:efficientnet-lite0", "frozen": true},
                 "text": {"kind": "bert", "weights": "pretrained:minilm", "frozen": true, "width": 384, "heads": 12,
                          "tokenizer": {"kind": "wordpiece", "vocabulary": "pretrained:minilm"}}}
    },
    "stages": [
      {"name": "counts", "kind": "pair_counts", "data": ["train"]},
      {"name": "filter", "kind": "filter", "needs": ["counts"], "data": ["train"], "max_images_per_text": 10,
       "aspect_below": null},
      {"name": "embed", "kind": "embed", "data": ["train", "test"], "model": "frozen"},
      {"name": "train", "kind": "train", "needs": ["filter"], "data": "train", "model": "m", "global_batch": 64,
       "evaluate_every": {"steps": 10, "data": "test"}},
      {"name": "evaluate", "kind": "evaluate", "needs": ["train"], "data": "test", "model": "train"},
      {"name": "index", "kind": "index", "needs": ["train"], "data": "plain", "model": "train"},
      {"name": "words", "kind": "vocabulary", "data": ["train"], "size": 1000}
    ]
  }
})";

std::string all_of(const std::vector<SpecFault>& faults) {
  std::string out;
  for (const auto& f : faults) out += f.pointer + " [" + f.code + "] " + f.detail + " | " + f.hint + "\n";
  return out;
}

// The faults of kJob after one override.
std::vector<SpecFault> faults_with(const std::string& override_text) {
  return read_job(kJob, {override_text}).faults;
}

void expect_fault(const std::vector<SpecFault>& faults, const std::string& pointer, const std::string& code,
                  const std::string& words = "") {
  const bool found = std::ranges::any_of(faults, [&](const SpecFault& f) {
    return f.pointer == pointer && f.code == code && (f.detail + f.hint).find(words) != std::string::npos;
  });
  EXPECT_TRUE(found) << pointer << " " << code << " " << words << "\ngot:\n" << all_of(faults);
}

TEST(ReadJob, FillsDefaultsAndKeepsWhatIsGiven) {
  const ReadResult result = read_job(kJob);
  ASSERT_TRUE(result.ok()) << all_of(result.faults);
  const PipelineSpec& spec = result.job.spec;
  EXPECT_EQ(spec.data.at("train").sources.size(), 2U);
  EXPECT_EQ(spec.data.at("train").sources[1].synthetic->samples, 64);
  EXPECT_EQ(spec.data.at("test").select, "0:400");
  EXPECT_EQ(spec.data.at("plain").sources[0].path, "c.csv");
  const auto& filter = std::get<FilterSettings>(spec.stages[1].settings);
  EXPECT_FALSE(filter.aspect_below);
  EXPECT_EQ(filter.short_side_over_px, 200);
  EXPECT_EQ(spec.models.at("m").image.resize_px, 32);
  EXPECT_EQ(spec.models.at("frozen").image.resize_px, 256);
  EXPECT_EQ(spec.models.at("frozen").image.mean, std::vector<double>(3, 0.5));
  EXPECT_EQ(std::get<TrainSettings>(spec.stages[3].settings).logical_slots, 8);
}

TEST(ReadJob, EffectiveSpecReadsBackToItself) {
  const JobSpec job = read_job(kJob).job;
  const std::string effective = effective_json(job);
  const ReadResult again = read_job(effective);
  ASSERT_TRUE(again.ok()) << all_of(again.faults);
  EXPECT_EQ(effective_json(again.job), effective);
  EXPECT_EQ(effective_json(read_job(effective_json(job, -1)).job, -1), effective_json(job, -1));
}

TEST(ReadJob, PartsGoBothWays) {
  const JobSpec job = read_job(kJob).job;
  for (const auto& stage : job.spec.stages) {
    const std::string text = settings_json(stage.settings);
    EXPECT_EQ(settings_json(settings_from_json(stage.kind(), text)), text);
  }
  for (const auto& [name, model] : job.spec.models)
    EXPECT_EQ(model_json(model_from_json(model_json(model))), model_json(model));
  for (const auto& [name, data] : job.spec.data)
    EXPECT_EQ(data_json(data_from_json(data_json(data))), data_json(data));
  const SyntheticSpec synthetic = *job.spec.data.at("train").sources[1].synthetic;
  EXPECT_EQ(synthetic_json(synthetic_from_json(synthetic_json(synthetic))), synthetic_json(synthetic));
  EXPECT_THROW(settings_from_json("train", R"({"epocs":3})"), Error);
  EXPECT_THROW(settings_from_json("tarin", "{}"), Error);
  EXPECT_THROW(model_from_json("{"), Error);
}

TEST(ReadJob, OverridesChangeTheDocumentBeforeItIsChecked) {
  const JobSpec job =
      read_job(kJob,
               {"spec.data.train=/data/x", "spec.data.train.select=0:5", "spec.stages.3.epochs=7",
                "spec.stages.train.optimizer.learning_rate=1e-3", "spec.retry.max_attempts=4", "name=123"})
          .job;
  EXPECT_EQ(job.spec.data.at("train").sources.at(0).path, "/data/x");
  EXPECT_EQ(job.spec.data.at("train").select, "0:5");
  const auto& train = std::get<TrainSettings>(job.spec.stages[3].settings);
  EXPECT_EQ(train.epochs, 7);
  EXPECT_EQ(train.optimizer.learning_rate, 1e-3);
  EXPECT_EQ(job.spec.retry.max_attempts, 4);
  EXPECT_EQ(job.name, "123");
}

TEST(ReadJob, FaultsInOverridesNameThem) {
  expect_fault(faults_with("spec.stages.train.epocs=3"), "/spec/stages/3/epocs", "unknown_key",
               "--set spec.stages.train");
  expect_fault(faults_with("spec.stages.train.epocs=3"), "/spec/stages/3/epocs", "unknown_key", "\"epochs\"");
  expect_fault(faults_with("spec.stages.tarin.epochs=3"), "", "override", "\"train\"");
  expect_fault(faults_with("spec.stages.99.epochs=3"), "", "override", "7 entries");
  expect_fault(faults_with("epochs"), "", "override", "path=value");
  expect_fault(faults_with("name.x=3"), "", "override", "the string");
  expect_fault(faults_with("spec.task_samples=x"), "/spec/task_samples", "wrong_type", "--set");
}

struct BadValue {
  const char* override_text;
  const char* pointer;
  const char* code;
  const char* words;
};

TEST(ReadJob, EveryRuleHasItsFault) {
  const BadValue cases[] = {
      {"apiVersion=v2", "/apiVersion", "unknown_name", "trireme/v1"},
      {"name=a b", "/name", "invalid", ""},
      {"spec.models.frozen.image.weights=\"\"", "/spec/models/frozen/image/weights", "invalid",
       "needs weights"},
      {"spec.models.frozen.text.context=600", "/spec/models/frozen/text/context", "invalid", "positions"},
      {"spec.models.frozen.image.patch_dropout=0.5", "/spec/models/frozen/image/patch_dropout", "unread",
       "no patches"},
      {"spec.models.frozen.text.weights=\"\"", "/spec/models/frozen/text/weights", "invalid",
       "needs weights"},
      {"spec.task_samples=0", "/spec/task_samples", "out_of_range", "least value 1"},
      {"spec.task_samples=1.5", "/spec/task_samples", "wrong_type", "whole"},
      {"spec.task_samples=9007199254740993", "/spec/task_samples", "wrong_type", ""},
      {"spec.data.train.sources=[]", "/spec/data/train/sources", "out_of_range", "at least 1"},
      {"spec.data.train.sources.0.synthetic={}", "/spec/data/train/sources/0/synthetic", "invalid",
       "not both"},
      {"spec.data.train.sources.1.synthetic.swapped=1.5", "/spec/data/train/sources/1/synthetic/swapped",
       "out_of_range", ""},
      {"spec.data.train.sources.0.path=\"\"", "/spec/data/train/sources/0/path", "missing", "synthetic"},
      {"spec.data.test.select=400:0", "/spec/data/test/select", "invalid", "nothing"},
      {"spec.data.test.select=4", "/spec/data/test/select", "invalid", "0:400"},
      {"spec.data.test.fromat=table", "/spec/data/test/fromat", "unknown_key", "\"format\""},
      {"spec.data.a/b=x", "/spec/data/a~1b", "invalid", "name"},
      {"spec.models.m.image.patch_px=7", "/spec/models/m/image/image_px", "invalid", "patch_px 7"},
      {"spec.models.m.text.heads=5", "/spec/models/m/text/width", "invalid", "heads 5"},
      {"spec.models.m.image.frozen=true", "/spec/models/m/image/weights", "invalid", "frozen"},
      {"spec.models.m.text.tokenizer.kind=clip_bpe", "/spec/models/m/text/tokenizer/vocabulary", "invalid",
       "pretrained:clip"},
      {"spec.models.m.image.mean=[1]", "/spec/models/m/image/mean", "invalid", "three"},
      {"spec.stages.counts.name=Counts", "/spec/stages/0/name", "invalid", "a-z"},
      {"spec.stages.5.name=train", "/spec/stages/5/name", "duplicate_name", "train"},
      {"spec.stages.train.kind=trian", "/spec/stages/3/kind", "unknown_name", "\"train\""},
      {"spec.stages.train.needs=[\"fliter\"]", "/spec/stages/3/needs/0", "unknown_name", "\"filter\""},
      {"spec.stages.counts.needs=[\"evaluate\"]", "/spec/stages/0/needs", "cycle", "train"},
      {"spec.stages.train.needs=[\"train\"]", "/spec/stages/3/needs/0", "cycle", ""},
      {"spec.stages.train.global_batch=63", "/spec/stages/3/global_batch", "invalid", "logical_slots 8"},
      {"spec.stages.train.data=tain", "/spec/stages/3/data", "unknown_name", "\"train\""},
      {"spec.stages.train.model=n", "/spec/stages/3/model", "unknown_name", "spec.models"},
      {"spec.stages.train.evaluate_every.data=tets", "/spec/stages/3/evaluate_every/data", "unknown_name",
       "test"},
      {"spec.stages.train.evaluate_every.data=\"\"", "/spec/stages/3/evaluate_every/data", "missing", ""},
      {"spec.stages.train.augment.scale_max=0.5", "/spec/stages/3/augment/scale_max", "invalid", ""},
      {"spec.stages.embed.model=m", "/spec/stages/2/model", "invalid", "no frozen tower"},
      {"spec.stages.filter.needs=[]", "/spec/stages/1/max_images_per_text", "invalid", "pair_counts"},
      {"spec.stages.filter.max_words=1", "/spec/stages/1/max_words", "invalid", "min_words"},
      {"spec.stages.filter.data=[\"train\",\"train\"]", "/spec/stages/1/data/1", "duplicate_name", ""},
      {"spec.stages.filter.data=[\"\"]", "/spec/stages/1/data/0", "missing", ""},
      {"spec.stages.evaluate.needs=[]", "/spec/stages/4/model", "unknown_name", "not among the needs"},
      {"spec.stages.evaluate.model=tain", "/spec/stages/4/model", "unknown_name", "\"train\""},
      {"spec.stages.evaluate.templates=[\"a photo\"]", "/spec/stages/4/templates/0", "invalid", "{c}"},
      {"spec.models.m.text.tokenizer={\"kind\":\"wordpiece\",\"vocabulary\":\"stage:words\"}",
       "/spec/stages/3/needs", "invalid", "stage \"words\""},
      {"spec.models.m.text.tokenizer={\"kind\":\"wordpiece\",\"vocabulary\":\"stage:wrods\"}",
       "/spec/models/m/text/tokenizer/vocabulary", "unknown_name", "\"words\""},
      {"spec.stages.words.size=3", "/spec/stages/6/size", "out_of_range", ""},
      {"spec.timeouts.lease_seconds=5", "/spec/timeouts/lease_seconds", "invalid", "fence"},
      {"spec.retry.backoff_seconds=100", "/spec/retry/max_backoff_seconds", "invalid", ""},
      {"spec.checkpoint.keep_last=1", "/spec/checkpoint/keep_last", "out_of_range", ""},
  };
  for (const auto& c : cases) {
    const auto faults = faults_with(c.override_text);
    SCOPED_TRACE(c.override_text);
    expect_fault(faults, c.pointer, c.code, c.words);
    EXPECT_LE(faults.size(), 3U) << all_of(faults);  // one cause, one fault (a rename may cut references)
  }
}

TEST(ReadJob, AVocabularyMadeByAStage) {
  const std::vector<std::string> fine{"spec.stages.train.needs=[\"filter\",\"words\"]",
                                      "spec.models.m.text.tokenizer.kind=wordpiece",
                                      "spec.models.m.text.tokenizer.vocabulary=stage:words"};
  EXPECT_TRUE(read_job(kJob, fine).faults.empty()) << all_of(read_job(kJob, fine).faults);
  auto other_rules = fine;
  other_rules.push_back("spec.stages.words.lower_case=false");
  expect_fault(read_job(kJob, other_rules).faults, "/spec/models/m/text/tokenizer/vocabulary", "invalid",
               "other rules");
  auto other_kind = fine;
  other_kind[1] = "spec.models.m.text.tokenizer.kind=clip_bpe";
  expect_fault(read_job(kJob, other_kind).faults, "/spec/models/m/text/tokenizer/kind", "invalid",
               "wordpiece");
}

TEST(ReadJob, AllFaultsAtOnceInDocumentOrder) {
  const ReadResult result = read_job(R"({"name": "x", "bogus": 1, "spec": {
    "output": 3, "data": {"train": "a.tar"}, "stages": [
      {"name": "f", "kind": "filter", "data": ["trian"], "min_words": 1.5, "min_words": 2},
      {"name": "t", "kind": "train", "needs": ["g"]}], "deadline_seconds": 1e999}})");
  std::vector<std::string> pointers;
  for (const auto& f : result.faults) pointers.push_back(f.pointer);
  const std::vector<std::string> expected = {"/bogus",
                                             "/spec/output",
                                             "/spec/stages/0/data/0",
                                             "/spec/stages/0/min_words",
                                             "/spec/stages/0/min_words",
                                             "/spec/stages/1/data",
                                             "/spec/stages/1/model",
                                             "/spec/stages/1/needs/0",
                                             "/spec/deadline_seconds"};
  EXPECT_EQ(pointers, expected) << all_of(result.faults);
}

TEST(ReadJob, MissingThingsAreNamed) {
  const auto faults = read_job("{}").faults;
  expect_fault(faults, "/name", "missing");
  expect_fault(faults, "/spec", "missing");
  expect_fault(read_job("[]").faults, "", "wrong_type", "an object");
}

TEST(ReadJob, ParseSelection) {
  EXPECT_EQ(parse_selection("0:400").last, 400);
  EXPECT_EQ(parse_selection("400:").first, 400);
  EXPECT_EQ(parse_selection(":5").last, 5);
  EXPECT_EQ(parse_selection("").first, 0);
  for (const char* bad : {"5:5", "a:b", "1", "-1:4", "1:2:3", "1 :2"})
    EXPECT_THROW(parse_selection(bad), Error);
}

// Whatever the bytes, there is an answer; and an accepted job has an effective form that is accepted.
TEST(ReadJob, RandomDamageNeverCrashes) {
  RandomStream random(1, RandomPurpose::kTest);
  const std::string alphabet = "{}[]\",:0123456789.eE+-\\untrfalsesd \n\xc3\xa9\x00\xff\xed\xa0";
  int accepted = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text = kJob;
    const std::uint64_t changes = 1 + random.below(4);
    for (std::uint64_t i = 0; i < changes; ++i) {
      const std::size_t at = random.below(text.size());
      const char c = alphabet[random.below(alphabet.size())];
      switch (random.below(4)) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.insert(at, 1, c);
          break;
        case 2:
          text.erase(at, 1 + random.below(8));
          break;
        default:
          text.insert(at, text.substr(random.below(text.size()), random.below(40)));
      }
    }
    const ReadResult result = read_job(text);
    if (!result.ok()) continue;
    ++accepted;
    const std::string effective = effective_json(result.job);
    const ReadResult again = read_job(effective);
    ASSERT_TRUE(again.ok()) << all_of(again.faults) << text;
    ASSERT_EQ(effective_json(again.job), effective);
  }
  EXPECT_GT(accepted, 50);
}

TEST(ReadJob, ADataSetNobodyUsesIsAFaultWhenItsNameIsASlipOfAUsedOne) {
  expect_fault(faults_with("spec.data.trian=elsewhere.tar"), "/spec/data/trian", "unused", "\"train\"");
  EXPECT_EQ(all_of(faults_with("spec.data.train2=elsewhere.tar")), "");
  EXPECT_EQ(all_of(faults_with("spec.data.reserve=elsewhere.tar")), "");
}

TEST(ReadJob, ProbesNeedAnotherDataSetToLearnFrom) {
  const auto faults = [](const std::string& task, const std::string& train) {
    return read_job(kJob, {"spec.stages.evaluate.task=" + task, "spec.stages.evaluate.train_data=" + train})
        .faults;
  };
  const std::string at = "/spec/stages/4/train_data";
  EXPECT_EQ(all_of(faults("few_shot", "train")), "");
  expect_fault(faults_with("spec.stages.evaluate.task=knn"), at, "missing");
  expect_fault(faults("knn", "test"), at, "invalid", "evaluated on");
  expect_fault(faults("knn", "trian"), at, "unknown_name", "\"train\"");
  expect_fault(faults("retrieval", "train"), at, "invalid", "learns from nothing");
  expect_fault(faults_with("spec.stages.evaluate.shots=[0]"), "/spec/stages/4/shots/0", "out_of_range");
}

// Settings of sources that came later stand in a task's data only when they are set, so that addresses stay.
TEST(ReadJob, LaterSettingsOfSourcesAreQuietUntilSet) {
  const std::string before = data_json(read_job(kJob).job.spec.data.at("test"));
  for (const char* name :
       {"layout", "key", "captions\":", "image_member", "caption_field", "separator", "parquet"})
    EXPECT_EQ(before.find(name), std::string::npos) << before;
  const std::string set = data_json(read_job(kJob, {"spec.data.test.key=last_dot"}).job.spec.data.at("test"));
  EXPECT_NE(set.find("\"key\":\"last_dot\""), std::string::npos) << set;
  EXPECT_EQ(data_json(data_from_json(set)), set);
  expect_fault(faults_with("spec.data.test.key=middle"), "/spec/data/test/key", "unknown_name");
  const auto both = read_job(kJob, {"spec.data.test.layout=files", "spec.data.test.format=table"}).faults;
  expect_fault(both, "/spec/data/test/layout", "invalid", "different things");
}

TEST(ReadJob, BothPlacesOfAPromptAreOne) {
  const auto read = read_job(kJob, {R"(spec.data.test.caption_templates=["a {}.", "a {c}!"])"});
  EXPECT_EQ(read.job.spec.data.at("test").caption_templates, (std::vector<std::string>{"a {c}.", "a {c}!"}));
  expect_fault(faults_with(R"(spec.stages.evaluate.templates=["a photo"])"), "/spec/stages/4/templates/0",
               "invalid");
}

}  // namespace
}  // namespace trireme::jobs
