#include "worker/stages/concepts/concepts_stage.h"

#include <algorithm>
#include <map>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/hash.h"
#include "jobs/specification/job_spec.h"
#include "worker/checkpoint/concept_labels.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/embedding/encoder.h"
#include "worker/losses/soft_target_loss.h"
#include "worker/models/autocast.h"
#include "worker/runtime/batches.h"

namespace trireme::worker::stages::concepts {
namespace {

using Task = runtime::OpenTask<jobs::ConceptsSettings>;

TeacherFiles files_of(const Task& task) {
  const auto& settings = task.settings;
  const auto path_of = [&](jobs::Role role) {
    const auto* found = task.inputs.find(role);
    return found == nullptr ? "" : found->path;
  };
  TeacherFiles files;
  if (!jobs::is_classifier(settings.teacher))
    files.model =
        jobs::named_stage(settings.teacher).empty() ? settings.teacher : path_of(jobs::Role::kModel);
  const bool named = settings.vocabulary.empty() || settings.vocabulary == "imagenet";
  if (!named)
    files.vocabulary = jobs::named_stage(settings.vocabulary).empty()
                           ? settings.vocabulary
                           : path_of(jobs::Role::kConceptVocabulary);
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
    const models::Autocast autocast(device_, settings_.precision == jobs::Precision::kBf16);
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

jobs::TaskDone ConceptTeacherStage::work(const Task& task, runtime::TaskContext& context) {
  const auto settled = settle_teacher(task.settings, files_of(task));
  context.stop->throw_if_stopped();
  io::write_file_atomic(task.output(), jobs::to_json(settled));
  jobs::TaskDone result;
  for (const auto& list : settled.lists) result.counts[list.name] = list.size();

  if (context.progress) context.progress(1, 1);
  return result;
}

Teacher& ConceptsStage::teacher(const Task& task, const std::string& device) {
  std::string key = device + "\n" + task.message.settings;
  for (const jobs::Role role : {jobs::Role::kModel, jobs::Role::kConceptVocabulary})
    for (const auto& input : task.inputs.all(role)) key += "\n" + input.path + " " + io::hex(input.xxh3);
  if (teacher_key_ != key) {
    teacher_key_.clear();
    const std::string settled = task.inputs.only(jobs::Role::kConceptVocabulary).path;
    teacher_ = open_teacher(task.settings, files_of(task),
                            jobs::concept_vocabularies_from_json(io::read_file(settled), settled), device);
    teacher_key_ = key;
  }
  return *teacher_;
}

jobs::TaskDone ConceptsStage::work(const Task& task, runtime::TaskContext& context) {
  const auto& settings = task.settings;
  const data::ShardReader shard = task.open_shard();
  const std::string vocabulary = task.inputs.only(jobs::Role::kConceptVocabulary).path;
  const auto settled = jobs::concept_vocabularies_from_json(io::read_file(vocabulary), vocabulary);
  Teacher& who = teacher(task, context.device);
  const bool stored_fit = who.stored_width() > 0;
  const embedding::FeatureTable stored(
      stored_fit ? task.inputs.paths(jobs::Role::kFeatures) : std::vector<std::string>{}, shard.size());
  if (stored.has_images()) embedding::check_width(stored.image_width(), who.stored_width(), "image");
  const auto samples = task.kept(shard);
  const Labeller labeller(shard, who, stored, settings, context.device);
  const auto batches = runtime::by_batches(
      samples, settings.batch, context, [&](const runtime::Samples& some) { return labeller.label(some); });
  auto labels = assembled(batches, settled, settings.top_k, shard);
  labels.shard = task.shard().sha256;
  labels.first = task.first();
  labels.count = task.message.count;
  checkpoint::write_concept_labels(task.output(), labels);
  jobs::TaskDone result;
  result.counts = {{"in", static_cast<std::int64_t>(samples.size())},
                   {"labelled", labels.sample.size(0)},
                   {"stored_features", 0}};
  for (const auto& batch : batches) {
    result.counts["stored_features"] += batch.stored;
    for (const auto& [reason, count] : batch.faults) result.counts[reason] += count;
  }

  return result;
}

}  // namespace trireme::worker::stages::concepts
