// The teacher pass by the code of the concepts stage: EfficientNet-Lite0 with its ImageNet head over real
// photographs, from the tar to the file of labels; and what reading such labels costs while training.
//
//   cmake -S . -B build/bench -G Ninja -DTRIREME_BENCH=ON && ninja -C build/bench teacher_bench
//   build/bench/bin/teacher_bench pass ../shared/data/flickr8k-500/test/0.tar [threads 2] [images 500] [batch
//   32] [FILE] build/bench/bin/teacher_bench join [rows 128] [heads 2]
// Peer, in the same session and turn by turn: python tests/bench/teacher_peer.py TAR [threads 2] [images 500]
// [FILE]
//
// Prints a line of JSON: images per second of the whole pass (wall, best of three) and its processor time per
// image; pixels and logits of the first 16 images go to FILE for the peer to compare. join: microseconds per
// sample to join once, and per step of so many rows to make the heads' targets.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"
#include "jobs/specification/stages/concept_vocabulary.h"
#include "tests/support/tar_writer.h"
#include "worker/checkpoint/concept_labels.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/data/batches/image_batch.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/runtime/batches.h"
#include "worker/stages/concepts/concepts_stage.h"
#include "worker/stages/train/objectives/contrastive/concept_targets.h"

namespace {

using namespace trireme;
using namespace trireme::worker;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

jobs::InputFile input(jobs::Role role, const std::string& path) {
  jobs::InputFile file;
  file.role = role;
  file.data = "train";
  file.shard = 0;
  file.path = path;
  return file;
}

void write_logits(const data::ShardReader& reader, const jobs::ConceptsSettings& settings,
                  const jobs::ConceptVocabularies& settled, const std::string& path) {
  const at::NoGradGuard no_gradients;
  const auto teacher = stages::concepts::open_teacher(settings, {}, settled, "cpu");
  runtime::Samples first(16);
  std::iota(first.begin(), first.end(), 0);
  const at::Tensor image_BCHW = data::evaluation_batch(reader, first, teacher->preprocess()).image_BCHW;
  const auto logits = teacher->logits(teacher->features(image_BCHW)).at(0);
  checkpoint::write_safetensors(path, {{"pixels", image_BCHW}, {"logits", logits.contiguous()}}, {}, false);
}

void measure_pass(const std::string& tar, int threads, std::int64_t images, std::int64_t batch,
                  const std::string& logits) {
  const auto folder = std::filesystem::temp_directory_path() / "trireme-teacher-bench";
  std::filesystem::create_directories(folder);
  const auto index = folder / "0.idx";
  const auto scan = data::build_shard_index(tar, jobs::DataFormat::kClipBenchmark, {}, index);
  jobs::ConceptsSettings settings;
  settings.data = {"train"};
  settings.batch = batch;
  runtime::StopRequest stop;
  runtime::TaskContext context;
  context.stop = &stop;
  context.threads = threads;
  jobs::Task task;
  task.stage = "labels";
  task.settings = jobs::settings_json(settings);
  task.output = (folder / "teacher").string();
  const auto settled = stages::concepts::ConceptTeacherStage().run(task, context).outputs[0].path;
  task.shard = jobs::ShardRef{.data = "train", .path = tar, .format = jobs::DataFormat::kClipBenchmark};
  task.count = std::min(images, scan.samples);
  task.inputs = {input(jobs::Role::kShardIndex, index.string()),
                 input(jobs::Role::kConceptVocabulary, settled)};
  task.output = (folder / "labels").string();
  stages::concepts::ConceptsStage stage;
  double best = 1e9, work = 1e9;
  for (int round = 0; round < 4; ++round) {  // the first one loads the weights
    const auto begin = Clock::now();
    const std::clock_t work_begin = std::clock();
    stage.run(task, context);
    if (round == 0) continue;
    best = std::min(best, since(begin));
    work = std::min(work, static_cast<double>(std::clock() - work_begin) / CLOCKS_PER_SEC);
  }
  const auto count = static_cast<double>(task.count);
  std::printf(
      "{\"pass\": \"concepts stage\", \"threads\": %d, \"images\": %lld, \"batch\": %lld, "
      "\"images_per_second\": %.1f, "
      "\"cpu_ms_per_image\": %.2f}\n",
      threads, static_cast<long long>(task.count), static_cast<long long>(batch), count / best,
      1e3 * work / count);
  if (!logits.empty())
    write_logits(data::ShardReader(tar, index), settings,
                 jobs::concept_vocabularies_from_json(io::read_file(settled), settled), logits);
}

void measure_join(std::int64_t rows, int heads) {
  constexpr std::int64_t kSamples = 4096, kConcepts = 5000, kKept = 10;
  const auto folder = std::filesystem::temp_directory_path() / "trireme-teacher-bench";
  testing::TarWriter tar;
  for (std::int64_t i = 0; i < kSamples; ++i) {
    tar.add(std::to_string(100000 + i) + ".jpg", "x");
    tar.add(std::to_string(100000 + i) + ".txt", "a text");
  }
  const auto path = folder / "join.tar", index = folder / "join.idx";
  io::write_file_atomic(path, tar.bytes(), false);
  data::build_shard_index(path, jobs::DataFormat::kWebdataset, {}, index);
  stages::train::DataSet set;
  stages::train::DataShard shard;
  shard.ref = {.data = "train", .shard = 0, .path = path.string()};
  shard.ref.samples = kSamples;
  shard.reader = std::make_shared<data::ShardReader>(path, index);
  for (std::int32_t i = 0; i < kSamples; ++i) shard.kept.push_back(i);
  set.shards.push_back(shard);
  jobs::ConceptVocabularies vocabularies{{}, "1"};
  checkpoint::ConceptLabels labels;
  labels.teacher = "1";
  labels.count = kSamples;
  labels.sample = at::arange(kSamples, at::kLong);
  std::vector<std::int64_t> keys;
  for (std::int64_t i = 0; i < kSamples; ++i) keys.push_back(checkpoint::key_hash(shard.reader->key(i)));
  labels.key = at::tensor(keys, at::kLong);
  labels.bad = at::empty({0}, at::kLong);
  jobs::ConceptsSpec spec;
  for (int h = 0; h < heads; ++h) {
    const std::string name = "list" + std::to_string(h);
    jobs::ConceptVocabulary list{name, {}};
    std::vector<std::string> names;
    for (std::int64_t i = 0; i < kConcepts; ++i) {
      names.push_back("c" + std::to_string(i));
      list.concepts.push_back({names.back(), -1, "", ""});
    }
    vocabularies.lists.push_back(std::move(list));
    labels.lists.push_back({name, checkpoint::vocabulary_hash(names), kConcepts,
                            at::randint(kConcepts, {kSamples, kKept}, at::kInt),
                            at::softmax(at::randn({kSamples, kKept}), 1), at::ones({kSamples})});
    spec.heads.push_back({.name = name, .from = "stage:labels", .field = name});
  }
  const auto file = (folder / "join.concepts.safetensors").string(), words = (folder / "join.json").string();
  checkpoint::write_concept_labels(file, labels);
  io::write_file_atomic(words, jobs::to_json(vocabularies), false);
  auto of_stage = [&](jobs::Role role, const std::string& at) {
    auto one = input(role, at);
    one.stage = "labels";
    return jobs::InputsLine{{}, one};
  };
  const std::vector<jobs::InputsLine> lines = {of_stage(jobs::Role::kConceptVocabulary, words),
                                               of_stage(jobs::Role::kConcepts, file)};
  const auto begin = Clock::now();
  stages::train::resolve_vocabularies(spec, lines);
  auto sources = stages::train::concept_sources(spec);
  stages::train::join_concepts(set, spec, lines, sources);
  const double joined = since(begin) / kSamples;
  std::vector<double> steps;
  for (std::int64_t step = 0; step < 200; ++step) {
    data::SlotBatch batch;
    for (std::int64_t row = 0; row < rows; ++row)
      batch.samples.push_back({0, (step * 997 + row * 31) % kSamples});
    batch.live.assign(static_cast<std::size_t>(rows), 1);
    std::map<std::string, std::int64_t> counts;
    const auto step_begin = Clock::now();
    for (const auto& source : sources) stages::train::concept_targets(set, source, batch, counts);
    steps.push_back(since(step_begin));
  }
  std::sort(steps.begin(), steps.end());
  std::printf(
      "{\"join_us_per_sample\": %.2f, \"rows\": %lld, \"heads\": %d, \"targets_us_per_step\": %.1f}\n",
      1e6 * joined, static_cast<long long>(rows), heads, 1e6 * steps[steps.size() / 2]);
}

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int index, const char* otherwise) {
    return std::string(argc > index ? argv[index] : otherwise);
  };
  if (argument(1, "pass") == "join")
    measure_join(std::stoll(argument(2, "128")), std::stoi(argument(3, "2")));
  else
    measure_pass(argument(2, "../shared/data/flickr8k-500/test/0.tar"), std::stoi(argument(3, "2")),
                 std::stoll(argument(4, "500")), std::stoll(argument(5, "32")), argument(6, ""));
}
