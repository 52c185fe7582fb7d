#include "worker/stages/evaluate/evaluate_stage.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <utility>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "common/io/hash.h"
#include "jobs/layouts/line_list.h"
#include "jobs/specification/job_spec.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/embedding/texts.h"
#include "worker/evaluation/few_shot.h"
#include "worker/evaluation/knn.h"
#include "worker/evaluation/linear_probe.h"
#include "worker/evaluation/retrieval.h"
#include "worker/evaluation/zero_shot.h"
#include "worker/models/dual_encoder.h"
#include "worker/stages/evaluate/score_captions.h"

namespace trireme::worker::stages::evaluate {
namespace {

using Task = runtime::OpenTask<jobs::EvaluateSettings>;

struct Inputs {
  std::vector<jobs::ShardRef> shards;
  jobs::InputFile model;
  checkpoint::Features features, train_features;  // the latter of train_data
  std::string data;                               // name of the data set
};

using Parts = std::vector<checkpoint::Features>;

checkpoint::Features whole(Parts parts, const std::string& stage, const std::string& data) {
  // A range without labels among ranges with them (or an empty one) has none of the tensor.
  const bool labelled =
      std::any_of(parts.begin(), parts.end(), [](const auto& part) { return part.label.defined(); });
  for (auto& part : parts) {
    if (labelled && !part.label.defined()) part.label = at::full_like(part.sample, -1);
  }
  auto features = checkpoint::concatenate(parts);
  if (!features.image.defined() || features.image.size(0) == 0) {
    throw Error(ErrorKind::kInvalid, "stage '" + stage + "' has no embedded image of data set '" + data + "'",
                "look at the counts of its embed tasks: every image was bad or dropped");
  }
  return features;
}

Inputs read_all(const Task& task, const runtime::StopRequest& stop) {
  const auto& settings = task.settings;
  Inputs inputs;
  Parts parts, train_parts;
  const auto learnt = [&](const std::string& data) {
    return !settings.train_data.empty() && data == settings.train_data;
  };
  for (const auto& shard : task.inputs.shards())
    if (!learnt(shard.data)) inputs.shards.push_back(shard);
  if (const auto* model = task.inputs.find(jobs::Role::kModel)) inputs.model = *model;
  for (const auto& input : task.inputs.all(jobs::Role::kFeatures)) {
    stop.throw_if_stopped();
    auto part = checkpoint::read_features(input.path);
    if (part.space == "shared") (learnt(input.data) ? train_parts : parts).push_back(std::move(part));
  }
  inputs.data = inputs.shards.empty() ? "" : inputs.shards.front().data;
  inputs.features = whole(std::move(parts), task.stage(), inputs.data);
  if (!settings.train_data.empty())
    inputs.train_features = whole(std::move(train_parts), task.stage(), settings.train_data);
  return inputs;
}

struct Outcome {
  evaluation::EvaluationResult result;
  nlohmann::ordered_json summary;
};

nlohmann::ordered_json json_of(const evaluation::Metrics& metrics) {
  return nlohmann::ordered_json::parse(evaluation::to_json(metrics));
}

Outcome retrieval(const Inputs& inputs, const jobs::EvaluateSettings& settings) {
  const auto& [space, sample, image, text, owner, label] = inputs.features;
  if (!text.defined() || text.size(0) == 0)
    throw Error(ErrorKind::kInvalid,
                "data set '" + inputs.data + "' has neither captions nor labels to compare with",
                "name where its captions stand (caption_field, text_member), or caption it first");
  Outcome outcome;
  outcome.result.task = "zeroshot_retrieval";
  outcome.result.metrics = evaluation::retrieval_recall(image, text, owner, settings.recall_k);
  outcome.result.chance = evaluation::retrieval_chance(image.size(0), owner, settings.recall_k);
  outcome.summary["images"] = image.size(0);
  outcome.summary["captions"] = text.size(0);
  return outcome;
}

// The model's class vectors; loaded only where prompts are needed.
class Classes {
 public:
  Classes(const Inputs& inputs, const jobs::EvaluateSettings& settings, const jobs::DataSpec& data,
          std::string device)
      : inputs_(inputs), device_(std::move(device)) {
    const std::string& shard = inputs.shards.front().path;
    names_ = data.classes.empty() ? jobs::class_names_near(shard) : data.classes;
    if (names_.empty()) {
      throw Error(
          ErrorKind::kInvalid, "data set '" + inputs.data + "' has labels, but its classes have no names",
          "list them in spec.data." + inputs.data + ".classes, or put classnames.txt beside the shards");
    }
    templates_ = settings.templates.empty() ? embedding::prompt_templates(shard) : settings.templates;
  }

  std::int64_t count() const { return static_cast<std::int64_t>(names_.size()); }
  const std::vector<std::string>& templates() const { return templates_; }

  // [C, D] of the prompts that the templates give.
  at::Tensor vectors(const std::vector<std::string>& fill_in) {
    return embedding::class_vectors(model(), device_, names_, fill_in);
  }
  double logit_scale() { return model().logit_scale().item<double>(); }

 private:
  models::DualEncoder& model() {
    if (model_ == nullptr) {
      model_ = models::DualEncoder::load(inputs_.model.path);
      model_->to(device_);
    }
    return *model_;
  }

  const Inputs& inputs_;
  std::string device_;
  std::vector<std::string> names_, templates_;
  std::unique_ptr<models::DualEncoder> model_;
};

evaluation::LabelledFeatures labelled(const checkpoint::Features& features) {
  const auto with = features.label.ge(0).nonzero().squeeze(1);
  return {features.image.index_select(0, with), features.label.index_select(0, with)};
}

Outcome zero_shot(const Inputs& inputs, Classes& classes) {
  const auto [image, label] = labelled(inputs.features);
  const auto measure = [&](const std::vector<std::string>& fill_in) {
    return evaluation::zero_shot_metrics(image, classes.vectors(fill_in), label);
  };
  Outcome outcome;
  outcome.result.task = "zeroshot_classification";
  outcome.result.metrics = measure(classes.templates());
  outcome.summary["bare_names"] = json_of(measure({"{c}"}));
  outcome.result.chance = evaluation::zero_shot_chance(classes.count());
  outcome.summary["images"] = image.size(0);
  outcome.summary["classes"] = classes.count();
  outcome.summary["templates"] = classes.templates().size();
  return outcome;
}

void need_labels(const checkpoint::Features& features, const std::string& data) {
  if (features.label.defined() && features.label.ge(0).any().item<bool>()) return;
  throw Error(ErrorKind::kInvalid, "data set '" + data + "' has no labels for a probe",
              "its shards need .cls members");
}

Outcome probe(const Inputs& inputs, const jobs::EvaluateSettings& settings, Classes& classes,
              const std::function<void()>& poll) {
  const auto train = labelled(inputs.train_features), test = labelled(inputs.features);
  const auto count = classes.count();
  const auto seed = static_cast<std::uint64_t>(settings.seed);
  Outcome outcome;
  outcome.result.task = std::string(name_of(settings.task));
  if (settings.task == jobs::EvaluateTask::kKnn) {
    outcome.result.metrics = evaluation::knn_recall(train.features_ND, train.label_N, test.features_ND,
                                                    test.label_N, settings.recall_k);
  } else if (settings.task == jobs::EvaluateTask::kLinearProbe) {
    const auto sweep =
        evaluation::sweep_logistic_regression(train.features_ND, train.label_N, count, seed, poll);
    outcome.result.metrics = {
        {"acc1", evaluation::accuracy(sweep.classifier, test.features_ND, test.label_N)}};
    outcome.summary["c"] = sweep.c;
    outcome.summary["validation_accuracy"] = sweep.validation_accuracy;
  } else {
    evaluation::FewShotOptions options{.shots = settings.shots, .seeds = settings.shot_seeds, .seed = seed};
    options.scale = std::exp(classes.logit_scale());
    const auto result = evaluation::few_shot(
        train, test, classes.vectors(classes.templates()).to(at::kCPU, at::kDouble), options, poll);
    outcome.result.metrics = result.metrics;
    outcome.summary["spread"] = json_of(result.spread);
  }
  if (settings.task == jobs::EvaluateTask::kKnn)
    outcome.result.chance = evaluation::knn_chance(train.label_N, test.label_N, settings.recall_k);
  else
    for (const auto& [name, value] : outcome.result.metrics)
      outcome.result.chance.emplace_back(name, 1 / static_cast<double>(count));
  outcome.summary["images"] = test.label_N.size(0);
  outcome.summary["train_images"] = train.label_N.size(0);
  outcome.summary["classes"] = count;
  return outcome;
}

Outcome measure(const Task& task, const Inputs& inputs, const runtime::TaskContext& context) {
  const auto& settings = task.settings;
  const bool learns = !settings.train_data.empty();
  if (!learns && choose_task(settings.task, inputs.features, inputs.data) == jobs::EvaluateTask::kRetrieval)
    return retrieval(inputs, settings);
  if (learns) {
    need_labels(inputs.features, inputs.data);
    need_labels(inputs.train_features, settings.train_data);
  }
  Classes classes(inputs, settings, task.data(), context.device);
  if (!learns) return zero_shot(inputs, classes);
  return probe(inputs, settings, classes, [&context] { context.stop->throw_if_stopped(); });
}

}  // namespace

jobs::EvaluateTask choose_task(jobs::EvaluateTask wanted, const checkpoint::Features& features,
                               const std::string& data) {
  const bool labels = features.label.defined() && features.label.ge(0).any().item<bool>();
  const bool texts = features.text.defined() && features.text.size(0) > 0;
  if (wanted != jobs::EvaluateTask::kRetrieval && labels) return jobs::EvaluateTask::kZeroShot;
  if (wanted != jobs::EvaluateTask::kZeroShot && texts) return jobs::EvaluateTask::kRetrieval;
  if (wanted == jobs::EvaluateTask::kZeroShot) {
    throw Error(ErrorKind::kInvalid, "data set '" + data + "' has no labels for zero-shot classification",
                "its shards need .cls members; task retrieval needs captions instead");
  }
  throw Error(ErrorKind::kInvalid,
              "data set '" + data + "' has no captions" + (labels ? "" : " and no labels") + " to evaluate",
              labels ? "choose task zero_shot" : "its shards need .txt or .cls members");
}

namespace {

Outcome model_outcome(const Task& task, const runtime::TaskContext& context) {
  const Inputs inputs = read_all(task, *context.stop);
  Outcome outcome = measure(task, inputs, context);
  outcome.result.dataset = inputs.data;
  outcome.result.model = task.settings.model;
  outcome.result.pretrained = io::hex(inputs.model.xxh3);
  return outcome;
}

Outcome captions_outcome(const Task& task, const runtime::TaskContext& context) {
  const auto made = evaluate_captions(task, [&context] { context.stop->throw_if_stopped(); });
  Outcome outcome;
  outcome.result.task = "captioning";
  outcome.result.dataset = made.dataset;
  outcome.result.model = task.settings.captions;
  outcome.result.metrics = evaluation::caption_metrics(made.scores);
  for (const auto& [name, count] : made.counts) outcome.summary[name] = count;
  return outcome;
}

}  // namespace

jobs::TaskDone EvaluateStage::work(const Task& task, runtime::TaskContext& context) {
  Outcome outcome = task.settings.task == jobs::EvaluateTask::kCaptions ? captions_outcome(task, context)
                                                                        : model_outcome(task, context);
  io::write_file_atomic(task.output(), evaluation::to_json(outcome.result) + "\n");
  outcome.summary["task"] = outcome.result.task;
  outcome.summary["dataset"] = outcome.result.dataset;
  outcome.summary["metrics"] = json_of(outcome.result.metrics);
  outcome.summary["chance"] = json_of(outcome.result.chance);
  jobs::TaskDone result;

  result.counts = {{"images", outcome.summary["images"].get<std::int64_t>()}};
  result.summary = outcome.summary.dump();
  if (context.progress) context.progress(1, 1);
  return result;
}

}  // namespace trireme::worker::stages::evaluate
