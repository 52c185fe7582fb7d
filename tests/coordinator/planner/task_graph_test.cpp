#include "coordinator/planner/task_graph.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/io/file.h"
#include "tests/coordinator/planner/fake_results.h"

namespace trireme::coordinator::planner {
namespace {

const char* const kJob = R"({"name": "graph", "spec": {"output": "/out",
  "data": {"train": {"sources": [{"path": "/data/train"}, {"synthetic": {"samples": 64, "shards": 2}}]},
           "test": {"path": "/data/test", "select": "500:1300"}},
  "models": {"m": {"image": {"kind": "efficientnet_lite0", "weights": "pretrained:efficientnet-lite0", "frozen": true},
                   "text": {"kind": "bert", "weights": "pretrained:minilm", "frozen": true, "heads": 8,
                            "tokenizer": {"kind": "wordpiece", "vocabulary": "pretrained:minilm"}}}},
  "stages": [
    {"name": "index", "kind": "index", "needs": ["train"], "data": "test", "model": "train"},
    {"name": "evaluate", "kind": "evaluate", "needs": ["train"], "data": "test", "model": "train"},
    {"name": "counts", "kind": "pair_counts", "data": ["train"], "partitions": 3},
    {"name": "filter", "kind": "filter", "needs": ["counts"], "data": ["train"], "max_images_per_text": 10},
    {"name": "embed", "kind": "embed", "needs": ["filter"], "data": ["train", "test"], "model": "m"},
    {"name": "train", "kind": "train", "needs": ["embed"], "data": "train", "model": "m",
     "evaluate_every": {"steps": 5, "data": "test"}}
  ]}})";

jobs::JobSpec job_of(const std::vector<std::string>& overrides = {}) {
  const auto result = jobs::read_job(kJob, overrides);
  for (const auto& fault : result.faults) ADD_FAILURE() << fault.pointer << " " << fault.detail;
  return result.job;
}

ListedJob listing() {
  ListedJob listed;
  listed.shards["train"] = fake_shards("train", 3);
  listed.shards["test"] = fake_shards("test", 4);
  return listed;
}

struct WholeRun {
  std::map<std::string, std::string> addresses;  // task key -> address
  std::vector<std::pair<TaskRef, jobs::TaskDone>> log;
};

// Completes everything; `pick` chooses among the ready ones.
template <class Pick>
WholeRun run_all(TaskGraph& graph, const Pick& pick) {
  WholeRun run;
  std::vector<TaskRef> ready = graph.start();
  while (!ready.empty()) {
    const std::size_t at = pick(ready.size());
    const TaskRef ref = ready[at];
    ready.erase(ready.begin() + static_cast<std::ptrdiff_t>(at));
    const jobs::Task task = graph.describe_task(ref);
    EXPECT_TRUE(run.addresses.emplace(key_of(ref), task.address).second) << key_of(ref) << " was ready twice";
    run.log.emplace_back(ref, fake_result(task));
    for (const auto& next : graph.complete(ref, run.log.back().second)) ready.push_back(next);
  }
  EXPECT_TRUE(graph.finished());
  return run;
}

std::size_t first_one(std::size_t) {
  return 0;
}

TEST(TaskGraph, AnyOrderOfCompletionsGivesTheSameTasks) {
  TaskGraph first(job_of(), listing(), "job");
  const WholeRun expected = run_all(first, first_one);
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    RandomStream random(seed, RandomPurpose::kTest);
    TaskGraph graph(job_of(), listing(), "job");
    const WholeRun run = run_all(graph, [&](std::size_t size) { return random.below(size); });
    ASSERT_EQ(run.addresses, expected.addresses) << "seed " << seed;
  }
}

TEST(TaskGraph, ARestartGoesOnWhereTheLogEnds) {
  TaskGraph first(job_of(), listing(), "job");
  const WholeRun expected = run_all(first, first_one);
  for (const std::size_t done :
       {std::size_t{0}, std::size_t{5}, expected.log.size() / 2, expected.log.size() - 1}) {
    TaskGraph graph(job_of(), listing(), "job");
    std::vector<TaskRef> ready = graph.start();
    for (std::size_t i = 0; i < done; ++i) {
      EXPECT_EQ(graph.address_of(expected.log[i].first),
                expected.addresses.at(key_of(expected.log[i].first)));
      for (const auto& next : graph.complete(expected.log[i].first, expected.log[i].second))
        ready.push_back(next);
      EXPECT_TRUE(graph.complete(expected.log[i].first, expected.log[i].second).empty()) << "a second time";
    }
    std::set<std::string> open;
    for (const auto& ref : ready) open.insert(key_of(ref));
    for (std::size_t i = 0; i < done; ++i) open.erase(key_of(expected.log[i].first));
    for (std::size_t i = done; i < expected.log.size(); ++i) {
      const auto& [ref, result] = expected.log[i];
      ASSERT_TRUE(open.contains(key_of(ref))) << key_of(ref);
      for (const auto& next : graph.complete(ref, result)) open.insert(key_of(next));
    }
    EXPECT_TRUE(graph.finished());
  }
}

TEST(TaskGraph, TheLogMayBeReplayedBeforeTheStart) {
  TaskGraph first(job_of(), listing(), "job");
  const WholeRun expected = run_all(first, first_one);
  TaskGraph graph(job_of(), listing(), "job");
  for (const auto& [ref, result] : expected.log) graph.complete(ref, result);
  EXPECT_TRUE(graph.finished());
  EXPECT_EQ(graph.start().size(), 9U);  // whoever replays takes the done ones away
  EXPECT_EQ(graph.address_of({0, 0, 0, 99, 0}), "");
}

TEST(TaskGraph, RangesCoverTheSelectionExactlyOnce) {
  for (const std::int64_t task_samples : {1, 7, 100, 256, 1000}) {
    TaskGraph graph(job_of({"spec.task_samples=" + std::to_string(task_samples)}), listing(), "job");
    const WholeRun run = run_all(graph, first_one);
    std::vector<int> seen(2400);
    for (const auto& [ref, result] : run.log) {
      const jobs::Task task = graph.describe_task(ref);
      if (task.stage != "embed" || !task.shard || task.shard->data != "test") continue;
      EXPECT_LE(task.count, task_samples);
      for (std::int64_t i = 0; i < task.count; ++i)
        ++seen[static_cast<std::size_t>(task.shard->shard * 600 + task.first + i)];
    }
    for (int i = 0; i < 2400; ++i) ASSERT_EQ(seen[static_cast<std::size_t>(i)], i >= 500 && i < 1300) << i;
  }
}

TEST(TaskGraph, ShardsMoveOnByThemselvesAndArtifactsAreBarriers) {
  TaskGraph graph(job_of(), listing(), "job");
  auto ready = graph.start();
  const auto count = [&](const std::vector<TaskRef>& refs, const std::string& stage) {
    return std::ranges::count_if(refs,
                                 [&](const auto& ref) { return graph.stages()[ref.stage].name == stage; });
  };
  EXPECT_EQ(count(ready, "synthesize:train/1"), 2);
  EXPECT_EQ(count(ready, "inspect:train"), 3);  // the synthetic two wait for their tars
  EXPECT_EQ(count(ready, "inspect:test"), 4);
  EXPECT_EQ(ready.size(), 9U);
  const auto inspect = std::ranges::find_if(
      ready, [&](const auto& ref) { return graph.stages()[ref.stage].name == "inspect:train"; });
  const auto next = graph.complete(*inspect, fake_result(graph.describe_task(*inspect)));
  EXPECT_EQ(count(next, "counts"), 3);  // 600 samples: 256 + 256 + 88, at once
  EXPECT_EQ(next.size(), 3U);           // the filter waits for the merged counts
}

// A model that takes its vocabulary from a stage waits for it, reads its file and is addressed by it.
TEST(TaskGraph, AVocabularyMadeByAStage) {
  const char* const with_words =
      R"({"name": "words", "spec": {"output": "/out", "data": {"train": "/data/train"},
    "models": {"m": {"image": {"image_px": 32, "patch_px": 8, "width": 32, "layers": 1, "heads": 2},
                     "text": {"width": 32, "layers": 1, "heads": 2, "context": 16,
                              "tokenizer": {"kind": "wordpiece", "vocabulary": "stage:words"}}, "embed_dim": 16}},
    "stages": [{"name": "train", "kind": "train", "needs": ["words"], "data": "train", "model": "m"},
               {"name": "words", "kind": "vocabulary", "data": ["train"], "size": 500, "partitions": 2}]}})";
  std::map<std::string, std::string> train_address;
  for (const std::string size : {"500", "600"}) {
    const auto read = jobs::read_job(with_words, {"spec.stages.words.size=" + size});
    ASSERT_TRUE(read.faults.empty());
    ListedJob listed;
    listed.shards["train"] = fake_shards("train", 3);
    TaskGraph graph(read.job, listed, "job");
    const WholeRun run = run_all(graph, first_one);
    std::map<std::string, int> tasks;
    std::string vocabulary;
    for (const auto& [ref, result] : run.log) {
      const jobs::Task task = graph.describe_task(ref);
      ++tasks[std::string(jobs::name_of(task.kind))];
      if (task.kind == jobs::TaskKind::kVocabularyTrain) vocabulary = task.output + ".vocab.txt";
      if (task.kind != jobs::TaskKind::kTrain) continue;
      EXPECT_FALSE(vocabulary.empty()) << "trained before its vocabulary was made";
      EXPECT_EQ(jobs::model_from_json(task.model).text.tokenizer.vocabulary, vocabulary);
      train_address[size] = task.address;
    }
    EXPECT_EQ(tasks["vocabulary_merge"], 2);
    EXPECT_EQ(tasks["vocabulary_train"], 1);
    EXPECT_EQ(tasks["train"], 1);
  }
  EXPECT_NE(train_address["500"], train_address["600"]);
}

// Vocabulary -> heads on captions -> a teacher -> labels -> training on them: every task comes after what it
// reads, training gets the labels of each range, and every artifact is part of the addresses behind it.
TEST(TaskGraph, ConceptLabelsFromMadeVocabularyToTraining) {
  const char* const text =
      R"({"name": "c", "spec": {"output": "/out", "task_samples": 256, "data": {"train": "/data/train"},
    "models": {"m": {"image": {"image_px": 32, "patch_px": 8}, "text": {}}},
    "stages": [
     {"name": "train", "kind": "train", "needs": ["labels"], "data": "train", "model": "m", "concepts": {"heads": [
       {"name": "objects", "from": "stage:labels", "field": "objects"}]}},
     {"name": "labels", "kind": "concepts", "needs": ["heads"], "data": ["train"], "teacher": "stage:heads"},
     {"name": "heads", "kind": "train", "needs": ["words"], "data": "train", "model": "m", "concepts": {"heads": [
       {"name": "objects", "from": "captions", "field": "objects", "vocabulary_from": "stage:words"}]}},
     {"name": "words", "kind": "concept_vocabulary", "data": ["train"], "partitions": 2}]}})";
  std::map<std::string, std::map<std::string, std::string>> address;  // by min_count: of each artifact
  for (const std::string least : {"5", "6"}) {
    const auto read =
        jobs::read_job(text, {"spec.stages.words.min_count=" + least,
                              "spec.output=/tmp/trireme-concepts-test-" + std::to_string(::getpid())});
    ASSERT_TRUE(read.faults.empty()) << read.faults[0].detail;
    ListedJob listed;
    listed.shards["train"] = fake_shards("train", 2);
    TaskGraph graph(read.job, listed, "job");
    const WholeRun run = run_all(graph, first_one);
    std::map<std::string, int> tasks;
    for (const auto& [ref, result] : run.log) {
      const jobs::Task task = graph.make_task(ref);
      const std::string kind(jobs::name_of(task.kind));
      ++tasks[kind];
      address[least][task.stage + ":" + kind] = task.address;
      if (task.stage == "labels" && kind == "concepts") {
        EXPECT_EQ(tasks["concept_teacher"], 1) << "labelled before the teacher was settled";
        std::set<std::string> roles;
        for (const auto& input : task.inputs) roles.emplace(name_of(input.role));
        EXPECT_EQ(roles, (std::set<std::string>{"shard_index", "concept_vocabulary", "model"}));
      }
      if (task.stage != "train") continue;
      int labels = 0, vocabularies = 0;
      const std::string lines = io::read_file(task.inputs_file);
      for (std::size_t at = 0, end; (end = lines.find('\n', at)) != std::string::npos; at = end + 1) {
        const auto line = jobs::inputs_line_from_json(std::string_view(lines).substr(at, end - at));
        labels +=
            line.input && line.input->role == jobs::Role::kConcepts && line.input->stage == "labels" ? 1 : 0;
        vocabularies += line.input && line.input->role == jobs::Role::kConceptVocabulary ? 1 : 0;
      }
      EXPECT_EQ(labels, 6) << "3 ranges of 2 shards";
      EXPECT_EQ(vocabularies, 1);
      std::filesystem::remove_all(read.job.spec.output);
    }
    EXPECT_EQ(tasks["concept_words_map"], 6);
    EXPECT_EQ(tasks["concept_words_merge"], 2);
    EXPECT_EQ(tasks["concept_vocabulary"], 1);
    EXPECT_EQ(tasks["concepts"], 6);
    EXPECT_EQ(tasks["train"], 2);
  }
  for (const char* name : {"words:concept_vocabulary", "heads:train", "labels:concept_teacher",
                           "labels:concepts", "train:train"})
    EXPECT_NE(address["5"][name], address["6"][name]) << name;
  EXPECT_EQ(address["5"]["words:concept_words_map"].size(), 32U);
}

TEST(TaskGraph, InputsByRole) {
  TaskGraph graph(job_of({"spec.output=/tmp/trireme-planner-test-" + std::to_string(::getpid())}), listing(),
                  "job");
  const WholeRun run = run_all(graph, first_one);
  std::map<std::string, std::set<std::string>> roles;
  std::map<std::string, TaskRef> one_of;
  for (const auto& [ref, result] : run.log) {
    const jobs::Task task = graph.describe_task(ref);
    const std::string name = task.stage + ":" + std::string(jobs::name_of(task.kind));
    one_of[name] = ref;
    for (const auto& input : task.inputs) {
      roles[name].emplace(name_of(input.role));
      if (input.first >= 0) {
        EXPECT_EQ(input.first, task.first);
      }
    }
  }
  EXPECT_EQ(roles["counts:pair_counts_map"], (std::set<std::string>{"shard_index"}));
  EXPECT_EQ(roles["filter:filter"], (std::set<std::string>{"shard_index", "facts"}));
  EXPECT_EQ(roles["filter:measure"], (std::set<std::string>{"shard_index", "pair_counts"}));
  EXPECT_EQ(roles["embed:embed"], (std::set<std::string>{"shard_index", "verdicts"}));
  EXPECT_EQ(roles["evaluate:embed"], (std::set<std::string>{"shard_index", "features", "model"}));
  const jobs::Task train = graph.make_task(one_of.at("train:train"));
  std::map<std::string, int> lines;
  std::map<std::string, std::int64_t> selected;
  const std::string text = io::read_file(train.inputs_file);
  for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    const auto line = jobs::inputs_line_from_json(std::string_view(text).substr(at, end - at));
    ++lines[line.shard ? "shard" : std::string(name_of(line.input->role)) + ":" + line.input->data];
    if (line.shard) selected[line.shard->data] += line.shard->selected_count;
  }
  EXPECT_EQ(lines,
            (std::map<std::string, int>{{"shard", 9},
                                        {"shard_index:train", 5},
                                        {"shard_index:test", 4},
                                        {"verdicts:train", 15},
                                        {"features:train", 15},
                                        {"features:test", 6}}));  // 12 + 88 of shard 0, 256 + 256 + 88, 100
  EXPECT_EQ(selected["test"], 800);
  EXPECT_EQ(selected["train"], 3000);
  EXPECT_FALSE(train.evaluate_data.empty());
  EXPECT_EQ(graph.kind(one_of.at("train:train")), jobs::TaskKind::kTrain);
  EXPECT_EQ(graph.gang_slots(one_of.at("train:train")), 8);
  EXPECT_EQ(graph.kind(one_of.at("evaluate:evaluate")), jobs::TaskKind::kEvaluate);
  std::filesystem::remove_all(io::Path(train.inputs_file).parent_path().parent_path().parent_path());
}

TEST(TaskGraph, EvaluateAndIndexShareTheirEmbeddings) {
  TaskGraph graph(job_of(), listing(), "job");
  const WholeRun run = run_all(graph, first_one);
  std::set<std::string> seen;
  int shared = 0;
  for (const auto& [ref, result] : run.log) shared += seen.insert(graph.address_of(ref)).second ? 0 : 1;
  EXPECT_EQ(shared, 6);  // ranges of the test set
}

TEST(TaskGraph, AddressesCoverWhatChangesBytesAndNothingElse) {
  const auto addresses = [](const std::vector<std::string>& overrides, ListedJob listed = listing()) {
    TaskGraph graph(job_of(overrides), std::move(listed), "job");
    const WholeRun run = run_all(graph, first_one);
    std::map<std::string, std::set<std::string>> by_stage;
    for (const auto& [ref, result] : run.log)
      by_stage[graph.stages()[ref.stage].name].insert(graph.address_of(ref));
    return by_stage;
  };
  const auto before = addresses({});
  for (const char* same : {"spec.output=/elsewhere", "name=other", "spec.checkpoint.every_steps=7",
                           "spec.retry.max_attempts=2", "spec.data.train.max_bad_fraction=0.5"})
    EXPECT_EQ(addresses({same}), before) << same;
  auto after = addresses({"spec.stages.train.optimizer.learning_rate=0.1"});
  for (const char* stage : {"inspect:train", "counts", "filter", "embed"})
    EXPECT_EQ(after[stage], before.at(stage));
  for (const char* stage : {"train", "evaluate", "index"}) EXPECT_NE(after[stage], before.at(stage));
  after = addresses({"spec.stages.filter.min_words=2"});
  EXPECT_EQ(after["counts"], before.at("counts"));
  for (const char* stage : {"filter", "embed", "train"}) EXPECT_NE(after[stage], before.at(stage));
  ListedJob other = listing();
  other.weights["weights pretrained:minilm"] = 7;
  after = addresses({}, other);
  EXPECT_EQ(after["filter"], before.at("filter"));
  EXPECT_NE(after["embed"], before.at("embed"));
  after = addresses({"spec.data.train.sources.1.synthetic.seed=2"});
  EXPECT_NE(after["synthesize:train/1"], before.at("synthesize:train/1"));
}

constexpr const char* kCaptions = R"({"name": "captions", "spec": {"output": "/out",
  "data": {"train": {"path": "/data/train"}, "test": {"path": "/data/test"}},
  "models": {
    "c": {"image": {"width": 32, "heads": 2}, "text": {"kind": "decoder", "width": 32, "heads": 2,
          "tokenizer": {"kind": "wordpiece", "vocabulary": "stage:words"}}},
    "m": {"image": {"width": 32, "heads": 2}, "text": {"width": 32, "heads": 2}}},
  "stages": [
    {"name": "words", "kind": "vocabulary", "data": ["test"]},
    {"name": "learn", "kind": "train", "needs": ["words"], "data": "test", "model": "c", "objective": "captioning"},
    {"name": "keep", "kind": "filter", "data": ["train"], "min_words": 4},
    {"name": "write", "kind": "caption", "needs": ["learn", "keep"], "data": ["train"], "model": "stage:learn"},
    {"name": "train", "kind": "train", "needs": ["write"], "data": "train", "model": "m",
     "loss": {"texts": "both"}, "synthetic_caption": "stage:write"}]}})";

TEST(TaskGraph, CaptionsAreWrittenByRangeAndReadByTraining) {
  const auto addresses = [](const std::vector<std::string>& overrides) {
    const auto job = jobs::read_job(kCaptions, overrides);
    for (const auto& fault : job.faults) ADD_FAILURE() << fault.pointer << " " << fault.detail;
    TaskGraph graph(job.job, listing(), "job");
    const WholeRun run = run_all(graph, first_one);
    std::map<std::string, std::set<std::string>> found;
    for (const auto& [ref, result] : run.log) {
      const jobs::Task task = graph.describe_task(ref);
      found[task.stage].insert(task.address);
      if (task.kind != jobs::TaskKind::kCaption) continue;
      for (const auto& input : task.inputs)
        found["write reads"].insert(input.stage + ":" + std::string(name_of(input.role)));
      EXPECT_TRUE(task.shard.has_value());
      EXPECT_NE(task.output.find("/caption/"), std::string::npos);
    }
    return found;
  };
  const auto before = addresses({});
  EXPECT_EQ(before.at("write").size(), 9U);  // three shards of 600 samples, 256 a range
  EXPECT_EQ(before.at("write reads"), (std::set<std::string>{"inspect:train:shard_index", "keep:verdicts",
                                                             "learn:model", "words:vocabulary"}));
  auto after = addresses({"spec.stages.write.beams=4"});
  EXPECT_EQ(after["learn"], before.at("learn"));
  EXPECT_NE(after["write"], before.at("write"));
  EXPECT_NE(after["train"], before.at("train"));  // it reads other captions
  after = addresses({"spec.stages.learn.seed=1"});
  EXPECT_NE(after["write"], before.at("write"));
  after = addresses({"spec.stages.train.optimizer.learning_rate=0.1"});
  EXPECT_EQ(after["write"], before.at("write"));
  // The name of the stage is no part of the result.
  std::string renamed = kCaptions;
  for (std::size_t at = 0; (at = renamed.find("write", at)) != std::string::npos; at += 5)
    renamed.replace(at, 5, "wrote");
  TaskGraph graph(jobs::read_job(renamed).job, listing(), "job");
  std::set<std::string> trained;
  for (const auto& [ref, result] : run_all(graph, first_one).log)
    if (graph.describe_task(ref).stage == "train") trained.insert(graph.address_of(ref));
  EXPECT_EQ(trained, before.at("train"));
}

// "<stage>:<kind of task>" -> addresses of its tasks; and what a test adds.
using Found = std::map<std::string, std::set<std::string>>;

Found run_to_end(const std::string& text, const std::vector<std::string>& overrides,
                 const std::function<void(const std::string&, const jobs::Task&, Found&)>& also) {
  const auto job = jobs::read_job(text, overrides);
  for (const auto& fault : job.faults) ADD_FAILURE() << fault.pointer << " " << fault.detail;
  TaskGraph graph(job.job, listing(), "job");
  Found found;
  for (const auto& [ref, result] : run_all(graph, first_one).log) {
    const jobs::Task task = graph.describe_task(ref);
    const std::string name = task.stage + ":" + std::string(jobs::name_of(task.kind));
    found[name].insert(task.address);
    also(name, task, found);
  }
  return found;
}

// "<name> reads": stages and roles of its inputs.
void add_reads(const std::string& name, const jobs::Task& task, Found& found) {
  for (const auto& input : task.inputs)
    if (input.role != jobs::Role::kShardIndex)
      found[name + " reads"].insert(input.stage + ":" + std::string(name_of(input.role)));
}

std::string faults_of(const std::string& text, const std::string& change) {
  std::string told;
  for (const auto& fault : jobs::read_job(text, {change}).faults)
    told += fault.pointer + " " + fault.detail + "\n";
  return told;
}

constexpr const char* kCuration = R"({"name": "curation", "spec": {"output": "/out",
  "data": {"train": {"path": "/data/train"}, "test": {"path": "/data/test"}},
  "stages": [
    {"name": "ngrams", "kind": "ngram_counts", "data": ["train"], "partitions": 2},
    {"name": "copies", "kind": "duplicates", "data": ["test", "train"], "partitions": 2},
    {"name": "good", "kind": "filter", "needs": ["ngrams", "copies", "near"], "data": ["train"], "max_ngrams": 100, "unique": ["image"],
     "near_unique": ["image"], "against": ["test"]},
    {"name": "arm", "kind": "filter", "data": ["train"], "min_complexity": 1},
    {"name": "second", "kind": "filter", "needs": ["good"], "data": ["train"], "min_words": 5},
    {"name": "control", "kind": "filter", "needs": ["good"], "data": ["train"], "random_like": "good"},
    {"name": "out", "kind": "export", "needs": ["second"], "data": ["train"]},
    {"name": "near", "kind": "near_duplicates", "data": ["test", "train"], "partitions": 2}]}})";

TEST(TaskGraph, CurationMeasuresOnceAndExportsShards) {
  const auto addresses = [](const std::vector<std::string>& overrides) {
    return run_to_end(
        kCuration, overrides, [](const std::string& name, const jobs::Task& task, Found& found) {
          add_reads(name, task, found);
          if (task.kind == jobs::TaskKind::kMeasure)
            found[name + " decodes"].insert(jobs::measure_from_json(task.settings).decode ? "all"
                                                                                          : "nothing");
          if (task.kind == jobs::TaskKind::kExport) {
            EXPECT_EQ(std::ranges::count_if(task.inputs,
                                            [](const auto& i) { return i.role == jobs::Role::kVerdicts; }),
                      3);
          }
        });
  };
  using Names = std::set<std::string>;
  auto before = addresses({});
  EXPECT_EQ(before["good:measure reads"],
            (Names{"ngrams:ngram_counts", "copies:duplicates", "near:near_clusters"}));
  EXPECT_EQ(before["good:filter reads"], (Names{"good:facts", "ngrams:ngram_counts"}));
  EXPECT_EQ(before["second:measure reads"], Names{});
  EXPECT_EQ(before["second:filter reads"], (Names{"second:facts", "good:verdicts"}));
  EXPECT_EQ(before["control:filter reads"], (Names{"control:facts", "good:verdicts"}));
  EXPECT_EQ(before["out:export reads"], (Names{"second:verdicts"}));
  EXPECT_EQ(before["out:export"].size(), 3U);                      // one per shard
  EXPECT_EQ(before["second:measure"], before["control:measure"]);  // the same measures are made once
  for (const char* first : {"good", "arm"})
    EXPECT_EQ(before[std::string(first) + ":measure decodes"], Names{"all"}) << first;
  EXPECT_EQ(before["second:measure decodes"], Names{"nothing"});  // "good" has looked at every picture
  auto after = addresses({"spec.stages.4.spotted_text_below=5"});
  EXPECT_EQ(after["second:measure decodes"], Names{"all"});  // it reads what is written there
  after = addresses({"spec.stages.2.max_ngrams=50", "spec.stages.0.memory_mib=9"});
  for (const char* same : {"ngrams:ngrams_map", "ngrams:ngrams_merge", "good:measure"})
    EXPECT_EQ(after[same], before[same]) << same;
  for (const char* other : {"good:filter", "second:filter", "control:filter", "out:export"})
    EXPECT_NE(after[other], before[other]) << other;
  after = addresses({"spec.stages.3.min_complexity=2", "spec.stages.3.count_intransitive=false"});
  EXPECT_EQ(after["arm:measure"], before["arm:measure"]);
  EXPECT_NE(after["arm:filter"], before["arm:filter"]);
  EXPECT_EQ(before["near:near_pairs"].size(), 2U);
  EXPECT_EQ(before["near:near_clusters"].size(), 1U);
  after = addresses({"spec.stages.7.max_hash_distance=4", "spec.stages.7.partitions=3"});
  EXPECT_EQ(after["near:signatures"], before["near:signatures"]);  // no picture is looked at again
  for (const char* other : {"near:near_pairs", "near:near_clusters", "good:measure"})
    EXPECT_NE(after[other], before[other]) << other;
}

// Segments are of ranges: an index with a shard more makes those of that shard, one with a shard fewer none.
TEST(TaskGraph, AnIndexMakesTheSegmentsOfNewShardsAlone) {
  const auto segments_of = [](std::vector<jobs::ShardRef> shards, const std::string& setting) {
    for (std::size_t i = 0; i < shards.size(); ++i) shards[i].shard = static_cast<std::int64_t>(i);
    ListedJob listed = listing();
    listed.shards["test"] = shards;
    TaskGraph graph(
        job_of({"spec.data.test.select=0:100000", "spec.stages.train.evaluate_every={}", setting}), listed,
        "job");
    std::set<std::string> segments, indexes;
    const WholeRun run = run_all(graph, first_one);
    for (const auto& [ref, done] : run.log) {
      const auto task = graph.describe_task(ref);
      if (task.kind == jobs::TaskKind::kSegment) segments.insert(task.address);
      if (task.kind == jobs::TaskKind::kIndex) indexes.insert(task.address);
    }
    EXPECT_EQ(indexes.size(), 1U);
    segments.insert("index " + *indexes.begin());
    return segments;
  };
  const auto without = [](const std::set<std::string>& all, const std::set<std::string>& some) {
    std::vector<std::string> left;
    std::ranges::set_difference(all, some, std::back_inserter(left));
    return left.size();
  };
  auto shards = fake_shards("test", 5);
  const auto five = segments_of(shards, "spec.stages.index.least_recall=0.9");
  const std::string other = "spec.stages.index.search=exact";
  shards.pop_back();
  const auto four = segments_of(shards, other);
  EXPECT_GT(four.size(), 4U);
  EXPECT_EQ(without(four, five), 1U);  // the index itself
  EXPECT_GT(without(five, four), 1U);
  shards.erase(shards.begin());
  shards.push_back(fake_shards("test", 5).back());
  EXPECT_EQ(without(segments_of(shards, other), five), 1U);
}

TEST(TaskGraph, PairScoresOfATrainedAndOfAGivenModel) {
  const std::string towers =
      R"("embed_dim": 8, "image": {"kind": "vit", "image_px": 32, "patch_px": 16, "width": 16, "layers": 1, "heads": 2, "frozen": FROZEN},
      "text": {"kind": "transformer", "width": 16, "layers": 1, "heads": 2, "context": 8, "frozen": FROZEN, "tokenizer": {"kind": "hashed_words", "buckets": 64}})";
  const auto model = [&](const std::string& frozen) {
    std::string text = towers;
    for (auto at = text.find("FROZEN"); at != std::string::npos; at = text.find("FROZEN"))
      text.replace(at, 6, frozen);
    return text;
  };
  const std::string text = R"({"name": "scores", "spec": {"output": "/out",
    "data": {"train": {"path": "/data/train"}, "test": {"path": "/data/test"}},
    "models": {"m": {)" + model("false") +
                           R"(}, "given": {"init_from": "/w/clip.safetensors", )" + model("true") + R"(}},
    "stages": [
      {"name": "rules", "kind": "filter", "data": ["train"]},
      {"name": "first", "kind": "train", "needs": ["rules"], "data": "train", "model": "m", "global_batch": 8, "logical_slots": 2, "steps": 2},
      {"name": "clip", "kind": "pair_scores", "needs": ["first"], "data": ["train"], "model": "stage:first"},
      {"name": "towers", "kind": "embed", "data": ["train"], "model": "given"},
      {"name": "given", "kind": "pair_scores", "needs": ["towers"], "data": ["train"], "model": "given"},
      {"name": "good", "kind": "filter", "needs": ["rules", "clip", "given"], "data": ["train"], "columns": [
        {"name": "clip", "sidecar": "stage:clip", "top_fraction": 0.7}, {"name": "given", "sidecar": "stage:given", "least": 0.2}]},
      {"name": "seen", "kind": "evaluate", "needs": ["rules", "first"], "data": "train", "model": "first", "task": "retrieval"},
      {"name": "tested", "kind": "evaluate", "needs": ["first"], "data": "test", "model": "first", "task": "retrieval"},
      {"name": "out", "kind": "export", "needs": ["good"], "data": ["train"]}]}})";
  const auto run = [&](const std::vector<std::string>& overrides) {
    return run_to_end(text, overrides, [](const std::string& name, const jobs::Task& task, Found& found) {
      add_reads(name, task, found);
      if (name.ends_with(":pair_scores")) found[name + " runs"].insert(task.model.empty() ? "" : "model");
    });
  };
  const auto before = run({});
  using Names = std::set<std::string>;
  EXPECT_EQ(before.at("clip:pair_scores reads"), (Names{"clip:features"}));
  EXPECT_EQ(before.at("clip:pair_scores runs"), (Names{""}));
  EXPECT_EQ(before.at("clip:embed reads"), (Names{"first:model", "rules:verdicts"}));
  EXPECT_EQ(before.at("given:pair_scores reads"), (Names{"given:features"}));
  EXPECT_EQ(before.at("given:pair_scores runs"), (Names{"model"}));
  EXPECT_EQ(before.at("good:measure reads"), (Names{"clip:scores", "given:scores"}));
  EXPECT_EQ(before.at("good:filter reads"), (Names{"good:cuts", "good:facts", "rules:verdicts"}));
  EXPECT_EQ(before.at("clip:embed"), before.at("seen:embed"));  // done once: the same task
  EXPECT_EQ(before.at("given:embed"), before.at("towers:embed"));
  EXPECT_EQ(before.at("out:export reads"), (Names{"clip:scores", "given:scores", "good:verdicts"}));
  auto after = run({"spec.stages.5.columns.1.sidecar=/scores"});
  EXPECT_TRUE(after["out:export reads"].contains("good:facts"));  // scores of somebody else
  after = run({"spec.stages.5.columns.0.top_fraction=0.5"});
  EXPECT_EQ(after["good:measure"], before.at("good:measure"));
  EXPECT_NE(after["good:filter"], before.at("good:filter"));
  after = run({"spec.stages.1.steps=3"});
  EXPECT_NE(after["clip:pair_scores"], before.at("clip:pair_scores"));
  EXPECT_NE(after["good:measure"], before.at("good:measure"));
  EXPECT_EQ(after["given:pair_scores"], before.at("given:pair_scores"));

  const auto faults = [&](const std::string& change) { return faults_of(text, change); };
  EXPECT_NE(faults("spec.stages.5.needs=[\"rules\",\"clip\"]").find("/spec/stages/5/columns/1/sidecar"),
            std::string::npos);
  EXPECT_NE(faults("spec.stages.5.columns.0.sidecar=stage:first").find("no pair_scores stage"),
            std::string::npos);
  EXPECT_NE(faults("spec.stages.5.data=[\"train\",\"test\"]").find("does not score data set \"test\""),
            std::string::npos);
  EXPECT_NE(faults("spec.stages.4.model=m").find("is not whole"), std::string::npos);
  EXPECT_NE(faults("spec.stages.5.columns.1.name=clip").find("of another source"), std::string::npos);
  EXPECT_NE(faults("spec.stages.2.needs=[]").find("is not among the needs"), std::string::npos);
}

// A model of spec.models becomes a folder once, whoever asks; what starts from a train stage waits for it.
TEST(TaskGraph, ModelsAreAdoptedOnceAndStagesStartFromOthers) {
  const std::string towers =
      R"("image": {"kind": "vit", "image_px": 32, "patch_px": 8, "width": 32, "layers": 1, "heads": 2},
      "text": {"kind": "transformer", "width": 32, "layers": 1, "heads": 2, "context": 8})";
  const std::string text =
      R"({"name": "chain", "spec": {"output": "/out", "data": {"test": {"path": "/data/test"}},
    "models": {"m": {)" +
      towers + R"(}, "next": {"init_from": "stage:first", )" + towers + R"(},
      "mixed": {"init_from": "stage:first", "blend": {"with": "stage:second", "share": 0.5}, )" +
      towers + R"(}},
    "stages": [
      {"name": "first", "kind": "train", "data": "test", "model": "m", "global_batch": 8, "logical_slots": 2, "steps": 2},
      {"name": "second", "kind": "train", "needs": ["first"], "data": "test", "model": "next", "global_batch": 8, "logical_slots": 2, "steps": 2},
      {"name": "drawn", "kind": "evaluate", "data": "test", "model": "m", "task": "retrieval"},
      {"name": "again", "kind": "evaluate", "data": "test", "model": "m", "task": "zero_shot"},
      {"name": "index", "kind": "index", "data": "test", "model": "m"},
      {"name": "between", "kind": "evaluate", "needs": ["first", "second"], "data": "test", "model": "mixed", "task": "retrieval"},
      {"name": "bare", "kind": "evaluate", "needs": ["second"], "data": "test", "model": "second", "task": "retrieval"},
      {"name": "named", "kind": "evaluate", "needs": ["second"], "data": "test", "model": "stage:second", "task": "retrieval"}]}})";
  const auto run = [&](const std::vector<std::string>& overrides) {
    return run_to_end(text, overrides, [](const std::string& name, const jobs::Task& task, Found& found) {
      add_reads(name, task, found);
      if (name.ends_with(":adopt") || name.ends_with(":train"))
        found[name + " starts"].insert(task.model.find("\"init_from\":\"\"") != std::string::npos ? "drawn"
                                       : task.model.find("stage:") != std::string::npos ? "unresolved"
                                                                                        : "path");
    });
  };
  const auto before = run({});
  using Names = std::set<std::string>;
  // Two models of spec.models see the pictures alike, which are decoded by a task of its own, once.
  for (const std::string stage : {"drawn", "again", "index"})
    EXPECT_EQ(before.at(stage + ":embed reads"), (Names{"drawn:model", stage + ":features"}));
  const auto alone = run({"spec.models.mixed.image.resize_px=40"});
  EXPECT_EQ(alone.at("drawn:embed reads"), (Names{"drawn:model"}));
  EXPECT_TRUE(std::ranges::includes(before.at("drawn:embed"), alone.at("drawn:embed")));  // the same bytes
  Names pictures;
  std::ranges::set_intersection(before.at("drawn:embed"), before.at("between:embed"),
                                std::inserter(pictures, pictures.end()));
  EXPECT_EQ(2 * pictures.size(), before.at("drawn:embed").size());
  EXPECT_EQ(before.at("bare:embed").size(), pictures.size());  // a stage's own model decodes for itself
  EXPECT_EQ(before.at("drawn:embed"), before.at("again:embed"));
  EXPECT_EQ(before.at("bare:evaluate"), before.at("named:evaluate"));
  EXPECT_EQ(before.at("drawn:adopt starts"), (Names{"drawn"}));
  EXPECT_EQ(before.at("second:train starts"), (Names{"path"}));
  EXPECT_EQ(before.at("between:adopt starts"), (Names{"path"}));
  const auto after = run({"spec.stages.0.steps=3"});
  EXPECT_NE(after.at("second:train"), before.at("second:train"));
  EXPECT_NE(after.at("between:adopt"), before.at("between:adopt"));
  EXPECT_EQ(after.at("drawn:adopt"), before.at("drawn:adopt"));
  EXPECT_NE(run({"spec.models.mixed.blend.share=0.25"}).at("between:adopt"), before.at("between:adopt"));
}

TEST(TaskGraph, NearDuplicatesByEmbeddingAndCaption) {
  const std::string text = R"({"name": "near", "spec": {"output": "/out",
    "data": {"train": {"path": "/data/train"}, "test": {"path": "/data/test"}},
    "models": {"m": {"embed_dim": 8, "image": {"kind": "vit", "image_px": 32, "patch_px": 16, "width": 16, "layers": 1, "heads": 2, "weights": "/w/m.safetensors", "frozen": true},
      "text": {"kind": "transformer", "width": 16, "layers": 1, "heads": 2, "context": 8, "tokenizer": {"kind": "hashed_words", "buckets": 64}}}},
    "stages": [
      {"name": "features", "kind": "embed", "data": ["train"], "model": "m", "batch": 32},
      {"name": "like", "kind": "near_duplicates", "needs": ["features"], "data": ["test", "train"], "by": "embedding", "model": "m", "partitions": 3},
      {"name": "words", "kind": "near_duplicates", "data": ["train"], "by": "caption", "partitions": 2},
      {"name": "good", "kind": "filter", "needs": ["like", "words"], "data": ["train"], "near_unique": ["embedding", "text"], "against": ["test"]}]}})";
  const auto run = [&](const std::vector<std::string>& overrides) {
    return run_to_end(text, overrides, [](const std::string& name, const jobs::Task& task, Found& found) {
      if (name == "good:measure") add_reads(name, task, found);
    });
  };
  const auto before = run({});
  EXPECT_EQ(before.at("good:measure reads"),
            (std::set<std::string>{"like:near_clusters", "words:near_clusters"}));
  for (const auto& address : before.at("features:embed"))  // done once: the same task
    EXPECT_TRUE(before.at("like:embed").contains(address));
  EXPECT_GT(before.at("like:embed").size(), before.at("features:embed").size());  // the test set, too
  EXPECT_EQ(before.at("like:near_pairs").size(), 3U);
  EXPECT_EQ(before.at("like:near_lists").size(), 1U);
  EXPECT_FALSE(before.contains("words:near_lists"));
  EXPECT_FALSE(run({"spec.stages.1.search=exact"}).contains("like:near_lists"));
  auto after = run({"spec.stages.1.least_cosine=0.9", "spec.stages.2.least_jaccard=0.9"});
  for (const char* same : {"like:embed", "words:signatures"}) EXPECT_EQ(after[same], before.at(same)) << same;
  for (const char* other : {"like:near_clusters", "words:near_clusters", "good:measure"})
    EXPECT_NE(after[other], before.at(other)) << other;
  after = run({"spec.stages.2.shingle_words=3"});
  EXPECT_NE(after["words:signatures"], before.at("words:signatures"));
  const auto faults = [&](const std::string& change) { return faults_of(text, change); };
  EXPECT_NE(faults("spec.stages.1.by=hash").find("/spec/stages/1/model"), std::string::npos);
  EXPECT_NE(faults("spec.stages.1.by=hash").find("by embedding"), std::string::npos);
  EXPECT_NE(faults("spec.stages.1.model=").find("/spec/stages/1/model"), std::string::npos);
  EXPECT_NE(faults("spec.stages.1.model=stage:t").find("no train stage"), std::string::npos);
  EXPECT_NE(faults("spec.models.m.image.frozen=false").find("no frozen image tower"), std::string::npos);
  EXPECT_NE(faults("spec.stages.3.needs=[\"like\"]").find("by caption"), std::string::npos);
  EXPECT_NE(faults("spec.stages.1.data=[\"train\"]").find("/against"), std::string::npos);
  EXPECT_NE(faults("spec.stages.3.near_unique=[\"words\"]").find("not image, embedding or text"),
            std::string::npos);
}

TEST(TaskGraph, JudgesTheData) {
  const auto fail_with = [](const jobs::JobSpec& job, const auto& change,
                            ErrorKind kind = ErrorKind::kInvalid) -> std::string {
    TaskGraph graph(job, listing(), "job");
    std::vector<TaskRef> ready = graph.start();
    try {
      while (!ready.empty()) {
        const TaskRef ref = ready.back();
        ready.pop_back();
        const jobs::Task task = graph.describe_task(ref);
        jobs::TaskDone done = fake_result(task);
        change(task, done);
        for (const auto& next : graph.complete(ref, done)) ready.push_back(next);
      }
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind);
      return error.what();
    }
    return "";
  };
  const auto summary = [](const jobs::Task& task, std::int64_t samples, std::int64_t bad) {
    jobs::ShardSummary s = jobs::summary_from_json(fake_result(task).summary);
    s.samples = samples;
    s.bad["no_caption"] = bad;
    return jobs::to_json(s);
  };
  const auto empty_shard = [&](const jobs::Task& task, jobs::TaskDone& done) {
    if (task.stage == "inspect:test" && task.shard->shard == 3) done.summary = summary(task, 0, 9);
  };
  const auto bad = [&](const jobs::Task& task, jobs::TaskDone& done) {
    if (task.stage == "inspect:test") done.summary = summary(task, 600, 100);
  };
  const auto drop_all = [](const jobs::Task& task, jobs::TaskDone& done) {
    if (task.kind == jobs::TaskKind::kFilter)
      done.counts = {{"in", task.count},
                     {"kept", 0},
                     {"dropped", task.count},
                     {"dropped.min_words", 9},
                     {"dropped.aspect", 2}};
  };
  const auto nothing = [](const jobs::Task&, jobs::TaskDone&) {};
  EXPECT_EQ(fail_with(job_of(), nothing), "");
  const std::string empty = fail_with(job_of(), empty_shard);
  EXPECT_NE(empty.find("/data/test/3.tar"), std::string::npos) << empty;
  EXPECT_NE(empty.find("9 no_caption"), std::string::npos) << empty;
  EXPECT_EQ(fail_with(job_of({"spec.data.test.allow_empty_shards=true"}), empty_shard), "");
  EXPECT_NE(fail_with(job_of(), bad).find("max_bad_fraction"), std::string::npos);
  EXPECT_NE(fail_with(job_of(), drop_all).find("\"min_words\" drops most"), std::string::npos);
  const auto lose_one = [](const jobs::Task& task, jobs::TaskDone& done) {
    if (task.kind == jobs::TaskKind::kFilter) done.counts = {{"in", task.count}, {"kept", task.count - 1}};
  };
  EXPECT_NE(fail_with(job_of(), lose_one, ErrorKind::kInternal).find("and 0 dropped"), std::string::npos)
      << "a sample that is nowhere";
  EXPECT_NE(fail_with(job_of({"spec.data.test.select=9000:"}), nothing).find("leaves none"),
            std::string::npos);
}

TEST(TaskGraph, AMillionShardsFitInLittleMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need memory of their own";
#endif
  const auto resident = [] {
    std::int64_t all = 0, present = 0;
    std::ifstream("/proc/self/statm") >> all >> present;
    return present * 4096;
  };
  const auto job = jobs::read_job(R"({"name": "big", "spec": {"output": "/out", "data": {"d": "/data/d"},
    "stages": [{"name": "f", "kind": "filter", "data": ["d"]}, {"name": "g", "kind": "filter", "needs": ["f"], "data": ["d"]}]}})");
  ASSERT_TRUE(job.ok());
  constexpr std::int64_t kShards = 50000;  // a twentieth, for speed
  ListedJob listed;
  listed.shards["d"] = fake_shards("d", kShards);
  const auto before = resident();
  TaskGraph graph(job.job, std::move(listed), "job");
  std::vector<TaskRef> ready = graph.start();
  while (!ready.empty()) {
    const TaskRef ref = ready.back();
    ready.pop_back();
    for (const auto& next : graph.complete(ref, fake_result(graph.describe_task(ref), 100)))
      ready.push_back(next);
  }
  EXPECT_TRUE(graph.finished());
  EXPECT_LT((resident() - before) * (1000000 / kShards), std::int64_t{600} << 20);
}

TEST(TaskRef, KeysGoBothWays) {
  const TaskRef ref{3, 0, 1, 17, 256};
  EXPECT_EQ(key_of(ref), "3.0.1.17.256");
  EXPECT_EQ(task_ref_from_key(key_of(ref)), ref);
  for (const char* bad : {"", "1.2.3.4", "1.2.3.4.5.6", "a.0.0.0.0", "1.0.0.0."})
    EXPECT_THROW(task_ref_from_key(bad), Error);
}

}  // namespace
}  // namespace trireme::coordinator::planner
