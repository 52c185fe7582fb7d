#include "worker/stages/concepts/concepts_stage.h"

#include <algorithm>
#include <map>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/hash.h"
#include "jobs/specification/job_spec.h"
#include "worker/checkpoint/concept_labels.h"
#include "worker/data/batches/kept_samples.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/embedding/encoder.h"
#include "worker/losses/soft_target_loss.h"
#include "worker/models/autocast.h"
#include "worker/runtime/batches.h"
#include "worker/runtime/task_inputs.h"

namespace trireme::worker::stages::concepts {
namespace {

jobs::ConceptsSettings settings_of(const jobs::Task& task) {
  return std::get<jobs::ConceptsSettings>(jobs::settings_from_json("concepts", task.settings));
}

// Of all lines of the task, or of its inputs.
std::string path_of(const jobs::Task& task, const std::string& role) {
  for (const auto& line : runtime::read_inputs(task))
    if (line.input && line.input->role == role) return line.input->path;
  return "";
}

TeacherFiles files_of(const jobs::Task& task, const jobs::ConceptsSettings& settings) {
  TeacherFiles files;
  if (!jobs::is_classifier(settings.teacher))
    files.model = jobs::named_stage(settings.teacher).empty() ? settings.teacher : path_of(task, "model");
  const bool named = settings.vocabulary.empty() || settings.vocabulary == "imagenet";
  if (!named)
    files.vocabulary = jobs::named_stage(settings.vocabulary).empty() ? settings.vocabulary
                                                                      : path_of(task, "concept_vocabulary");
  return files;
}

struct Labelled {
  std::vector<std::int64_t> samples, bad;
  std::vector<at::Tensor> index, weight, mass;  // per list
  std::map<std::string, std::int64_t> faults;
  std::int64_t stored = 0;
};

class Labeller {
 public:
  Labeller(const data::ShardReader& shard, Teacher& teacher, const embedding::FeatureTable& stored,
           const jobs::ConceptsSettings& settings, std::string device)
      : shards_{{&shard, &stored}},
        teacher_(teacher),
        tower_{teacher.preprocess(), stored.image_width(), stored.has_images(),
               [&teacher](const at::Tensor& image_BCHW) { return teacher.features(image_BCHW); }},
        settings_(settings),
        device_(std::move(device)) {}

  // Thread-safe.
  Labelled label(const std::vector<std::int64_t>& samples) const {
    const at::NoGradGuard no_gradients;
    const models::Autocast autocast(device_, settings_.precision == "bf16");
    const auto rows = embedding::image_rows(shards_, embedding::of_one_shard(samples), tower_, device_);
    Labelled made;
    for (const auto& sample : rows.samples) made.samples.push_back(sample.sample);
    for (const auto& [sample, fault] : rows.faults) {
      made.bad.push_back(sample.sample);
      ++made.faults["bad." + fault];
    }
    made.stored = tower_.stored ? static_cast<std::int64_t>(made.samples.size()) : 0;
    if (made.samples.empty()) return made;
    for (const at::Tensor& logits_BV : teacher_.logits(rows.features_bT)) {
      const at::Tensor probabilities = at::softmax(logits_BV.to(at::kCPU, at::kFloat), 1);
      const auto [index, weight] = losses::top_k_targets(probabilities, settings_.top_k);
      made.index.push_back(index.to(at::kInt));
      made.weight.push_back(weight.to(at::kFloat));
      made.mass.push_back(probabilities.gather(1, index).sum(1));
    }
    return made;
  }

 private:
  std::vector<embedding::Shard> shards_;
  Teacher& teacher_;
  embedding::ImageTower tower_;
  const jobs::ConceptsSettings& settings_;
  std::string device_;
};

at::Tensor positions(const std::vector<std::int64_t>& values) {
  return at::tensor(values, at::kLong);
}

checkpoint::ConceptLabels assembled(const std::vector<Labelled>& batches,
                                    const jobs::ConceptVocabularies& settled, std::int64_t top_k,
                                    const data::ShardReader& shard) {
  std::vector<std::int64_t> samples, keys, bad;
  for (const auto& batch : batches) {
    samples.insert(samples.end(), batch.samples.begin(), batch.samples.end());
    bad.insert(bad.end(), batch.bad.begin(), batch.bad.end());
  }
  for (const auto sample : samples) keys.push_back(checkpoint::key_hash(shard.key(sample)));
  checkpoint::ConceptLabels labels;
  labels.teacher = settled.teacher;
  labels.sample = positions(samples);
  labels.key = positions(keys);
  labels.bad = positions(bad);
  for (std::size_t i = 0; i < settled.lists.size(); ++i) {
    std::vector<std::string> names;
    for (const auto& one : settled.lists[i].concepts) names.push_back(one.name);
    std::vector<at::Tensor> index = {at::empty({0, top_k}, at::kInt)};
    std::vector<at::Tensor> weight = {at::empty({0, top_k}, at::kFloat)}, mass = {at::empty({0}, at::kFloat)};
    for (const auto& batch : batches) {
      if (batch.samples.empty()) continue;
      index.push_back(batch.index[i]);
      weight.push_back(batch.weight[i]);
      mass.push_back(batch.mass[i]);
    }
    labels.lists.push_back({settled.lists[i].name, checkpoint::vocabulary_hash(names),
                            settled.lists[i].size(), at::cat(index), at::cat(weight), at::cat(mass)});
  }
  return labels;
}

}  // namespace

jobs::TaskDone ConceptTeacherStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto settings = settings_of(task);
  const auto settled = settle_teacher(settings, files_of(task, settings));
  context.stop->throw_if_stopped();
  const std::string path = task.output + ".concepts.json";
  io::write_file_atomic(path, jobs::to_json(settled));
  jobs::TaskDone result;
  for (const auto& list : settled.lists) result.counts[list.name] = list.size();
  result.outputs = {runtime::describe_output("", path)};
  if (context.progress) context.progress(1, 1);
  return result;
}

Teacher& ConceptsStage::teacher(const jobs::Task& task, const std::string& device) {
  const auto settings = settings_of(task);
  std::string key = device + "\n" + task.settings;
  for (const auto& input : task.inputs)
    if (input.role == "model" || input.role == "concept_vocabulary")
      key += "\n" + input.path + " " + io::hex(input.xxh3);
  if (teacher_key_ != key) {
    teacher_key_.clear();
    const std::string settled = runtime::input_path(task, "concept_vocabulary");
    TeacherFiles files = files_of(task, settings);
    teacher_ = open_teacher(settings, files,
                            jobs::concept_vocabularies_from_json(io::read_file(settled), settled), device);
    teacher_key_ = key;
  }
  return *teacher_;
}

jobs::TaskDone ConceptsStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto settings = settings_of(task);
  const data::ShardReader shard(runtime::shard_of(task).path, runtime::input_path(task, "shard_index"));
  const std::string vocabulary = runtime::input_path(task, "concept_vocabulary");
  const auto settled = jobs::concept_vocabularies_from_json(io::read_file(vocabulary), vocabulary);
  Teacher& who = teacher(task, context.device);
  const bool stored_fit = who.stored_width() > 0;
  const embedding::FeatureTable stored(
      stored_fit ? runtime::input_paths(task, "features") : std::vector<std::string>{}, shard.size());
  if (stored.has_images()) embedding::check_width(stored.image_width(), who.stored_width(), "image");
  const auto samples = data::kept_samples(task.first, std::min(task.first + task.count, shard.size()),
                                          runtime::input_paths(task, "verdicts"));
  const Labeller labeller(shard, who, stored, settings, context.device);
  const auto batches = runtime::by_batches(
      samples, settings.batch, context, [&](const runtime::Samples& some) { return labeller.label(some); });
  auto labels = assembled(batches, settled, settings.top_k, shard);
  labels.shard = runtime::shard_of(task).sha256;
  labels.first = task.first;
  labels.count = task.count;
  const std::string path = task.output + ".concepts.safetensors";
  checkpoint::write_concept_labels(path, labels);
  jobs::TaskDone result;
  result.counts = {{"in", static_cast<std::int64_t>(samples.size())},
                   {"labelled", labels.sample.size(0)},
                   {"stored_features", 0}};
  for (const auto& batch : batches) {
    result.counts["stored_features"] += batch.stored;
    for (const auto& [reason, count] : batch.faults) result.counts[reason] += count;
  }
  result.outputs = {runtime::describe_output("", path)};
  return result;
}

}  // namespace trireme::worker::stages::concepts
