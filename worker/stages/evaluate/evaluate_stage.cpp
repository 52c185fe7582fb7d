#include "worker/stages/evaluate/evaluate_stage.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <utility>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "common/io/hash.h"
#include "common/telemetry/metrics.h"
#include "jobs/specification/job_spec.h"
#include "jobs/store/prompt_sets.h"
#include "worker/embedding/texts.h"
#include "worker/evaluation/few_shot.h"
#include "worker/evaluation/knn.h"
#include "worker/evaluation/label_metrics.h"
#include "worker/evaluation/zero_shot.h"
#include "worker/stages/evaluate/analogies.h"
#include "worker/stages/evaluate/classes.h"
#include "worker/stages/evaluate/outcome.h"
#include "worker/stages/evaluate/probe_stage.h"
#include "worker/stages/evaluate/score_captions.h"

namespace trireme::worker::stages::evaluate {
namespace {

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
  std::map<std::string, Parts> parts;
  const std::string space = settings.features == jobs::FeatureSpace::kTower ? "tower" : "shared";
  for (const auto& shard : task.inputs.shards())
    if (shard.data != settings.train_data && shard.data != settings.validation_data)
      inputs.shards.push_back(shard);
  inputs.data = inputs.shards.empty() ? "" : inputs.shards.front().data;
  if (const auto* model = task.inputs.find(jobs::Role::kModel)) inputs.model = *model;
  if (settings.task == jobs::EvaluateTask::kWords) return inputs;
  for (const auto& input : task.inputs.all(jobs::Role::kFeatures)) {
    stop.throw_if_stopped();
    const bool learnt =
        !input.data.empty() && (input.data == settings.train_data || input.data == settings.validation_data);
    if (learnt && settings.task == jobs::EvaluateTask::kLinearProbe) continue;  // a probe task has
    auto part = checkpoint::read_features(input.path);
    if (part.space != space) continue;
    if (!learnt) {
      const auto* const samples = part.sample.const_data_ptr<std::int64_t>();
      for (std::int64_t i = 0; i < part.sample.size(0); ++i)
        inputs.places.push_back({input.shard, samples[i]});
    }
    parts[learnt ? input.data : inputs.data].push_back(std::move(part));
  }
  inputs.features = whole(std::move(parts[inputs.data]), task.stage(), inputs.data);
  if (settings.task != jobs::EvaluateTask::kLinearProbe && !settings.train_data.empty())
    inputs.train_features = whole(std::move(parts[settings.train_data]), task.stage(), settings.train_data);
  return inputs;
}

Outcome multi_label(const Task& task, const Inputs& inputs, Classes& classes) {
  const auto targets =
      label_sets(task, inputs.data, inputs.places, task.settings.label_field, classes.names());
  const auto image = inputs.features.image;
  const auto precision = evaluation::average_precision(
      image.matmul(classes.vectors(classes.templates()).to(image.device()).t()), targets);
  Outcome outcome;
  outcome.result.task = "zeroshot_classification";
  outcome.result.metrics = {{"mean_average_precision", precision.mean().item<double>()}};
  outcome.result.chance = {
      {"mean_average_precision", targets.to(at::kDouble).mean().item<double>()}};  // of random order
  outcome.summary["images"] = image.size(0);
  outcome.summary["classes"] = classes.count();
  outcome.summary["templates"] = classes.templates().size();
  outcome.summary["empty_classes"] = targets.any(0).logical_not().sum().item<std::int64_t>();
  outcome.summary["labels"] = targets.sum().item<std::int64_t>();
  return outcome;
}

Outcome analogies(const Task& task, const Inputs& inputs, const runtime::TaskContext& context) {
  const auto words = [&](const std::vector<std::string>& texts) {
    const auto model = models::DualEncoder::load(inputs.model.path);
    model->to(context.device);
    return embedding::encode_texts(*model, context.device, texts, true).rows;
  };
  const auto scores =
      analogy_scores(task, inputs.data, inputs.places, inputs.features.image, task.settings.recall_k, words,
                     [&context] { context.stop->throw_if_stopped(); });
  Outcome outcome;
  outcome.result.task = "analogies";
  outcome.result.metrics = scores.metrics;
  outcome.result.chance = scores.chance;
  outcome.summary = {
      {"images", inputs.features.image.size(0)}, {"scenes", scores.scenes}, {"queries", scores.queries}};
  return outcome;
}

evaluation::LabelledFeatures labelled(const checkpoint::Features& features) {
  if (features.label.ge(0).all().item<bool>()) return {features.image, features.label};
  const auto with = features.label.ge(0).nonzero().squeeze(1);
  return {features.image.index_select(0, with), features.label.index_select(0, with)};
}

std::int64_t empty_classes(const at::Tensor& label_N, std::int64_t classes) {
  return (at::bincount(label_N.cpu(), {}, classes) == 0).sum().item<std::int64_t>();
}

// Metrics that were asked for beside top-k.
void add_asked(const Task& task, const Inputs& inputs, const evaluation::LabelledFeatures& test,
               const at::Tensor& class_CD, const evaluation::ClassRanks& ranks, Outcome& outcome) {
  auto& metrics = outcome.result.metrics;
  if (asks(task.settings, jobs::AlsoMetric::kRocAuc)) {
    if (class_CD.size(0) != 2)
      throw Error(ErrorKind::kInvalid, "roc_auc is of two classes, data set '" + inputs.data + "' has " +
                                           std::to_string(class_CD.size(0)));
    const auto score_N2 = test.features_ND.matmul(class_CD.t());
    metrics.emplace_back(
        "roc_auc", evaluation::roc_auc(score_N2.select(1, 1) - score_N2.select(1, 0), test.label_N == 1));
    outcome.result.chance.emplace_back("roc_auc", 0.5);
  }
  if (asks(task.settings, jobs::AlsoMetric::kMacroF1))
    metrics.emplace_back("macro_f1", evaluation::macro_f1(test.label_N, ranks.first_N, class_CD.size(0)));
  if (!asks(task.settings, jobs::AlsoMetric::kWorstGroup)) return;
  const auto all = fields_of(task, inputs.data, inputs.places, task.settings.group_field);
  std::vector<std::string> groups;  // of the labelled ones
  for (std::size_t i = 0; i < all.size(); ++i)
    if (inputs.features.label[static_cast<std::int64_t>(i)].item<std::int64_t>() >= 0)
      groups.push_back(all[i]);
  for (const std::int64_t k : {1, 5}) {
    if (k > class_CD.size(0)) continue;
    const auto worst = evaluation::worst_group(groups, ranks.own_N < k);
    metrics.emplace_back("worst_group_acc" + std::to_string(k), worst.value);
    outcome.summary["worst_group@" + std::to_string(k)] = {{"group", worst.name}, {"images", worst.images}};
  }
}

Outcome zero_shot(const Task& task, const Inputs& inputs, Classes& classes) {
  const auto test = labelled(inputs.features);
  const at::Tensor &image = test.features_ND, &label = test.label_N;
  const auto measure = [&](const std::vector<std::string>& fill_in) {
    return evaluation::zero_shot_metrics(image, classes.vectors(fill_in), label);
  };
  Outcome outcome;
  outcome.result.task = "zeroshot_classification";
  const auto class_CD = classes.vectors(classes.templates());
  outcome.result.metrics = evaluation::zero_shot_metrics(image, class_CD, label);
  outcome.summary["bare_names"] = json_of(measure({"{c}"}));
  outcome.result.chance = evaluation::zero_shot_chance(classes.count());
  outcome.summary["templates"] = classes.templates().size();
  const auto ranks = evaluation::class_ranks(image, class_CD, label);
  outcome.result.rules = {"of equal scores the smaller class is first", kNotFinite,
                          "a class without a picture is in no mean"};
  outcome.count("images", image.size(0));
  outcome.count("classes", classes.count());
  outcome.count("without_label", inputs.features.image.size(0) - image.size(0));
  outcome.count("ties", ranks.tied);
  outcome.count("not_finite", not_finite(image));
  outcome.count("empty_classes", empty_classes(label, classes.count()));
  add_asked(task, inputs, test, class_CD, ranks, outcome);
  return outcome;
}

void need_labels(const checkpoint::Features& features, const std::string& data) {
  if (features.label.defined() && features.label.ge(0).any().item<bool>()) return;
  throw Error(ErrorKind::kInvalid, "data set '" + data + "' has no labels for a probe",
              "its shards need .cls members");
}

// linear_probe, as a probe task has learnt it.
void test_probe(const Task& task, const evaluation::LabelledFeatures& test, Outcome& outcome) {
  const LearntProbe probe = read_probe(task.inputs.only(jobs::Role::kProbe).path);
  outcome.result.metrics = {{"acc1", evaluation::accuracy(probe.classifier, test.features_ND, test.label_N)},
                            {"mean_per_class_recall", evaluation::mean_per_class_accuracy(
                                                          probe.classifier, test.features_ND, test.label_N)}};
  outcome.summary["c"] = probe.c;
  outcome.summary["validation_accuracy"] = probe.validation_accuracy;
  for (const auto& [name, count] : probe.counts) outcome.count(name, count);
}

Outcome probe(const Task& task, const Inputs& inputs, Classes& classes, const std::function<void()>& poll) {
  const auto& settings = task.settings;
  const bool linear = settings.task == jobs::EvaluateTask::kLinearProbe;
  const auto test = labelled(inputs.features);
  const auto train = linear ? evaluation::LabelledFeatures{} : labelled(inputs.train_features);
  const auto count = classes.count();
  const auto seed = static_cast<std::uint64_t>(settings.seed);
  Outcome outcome;
  outcome.result.task = std::string(name_of(settings.task));
  if (settings.task == jobs::EvaluateTask::kKnn) {
    outcome.result.metrics = evaluation::knn_recall(train.features_ND, train.label_N, test.features_ND,
                                                    test.label_N, settings.recall_k);
  } else if (linear) {
    test_probe(task, test, outcome);
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
  outcome.count("images", test.label_N.size(0));
  outcome.count("classes", count);
  outcome.count("without_label", inputs.features.image.size(0) - test.label_N.size(0));
  outcome.count("empty_classes", empty_classes(test.label_N, count));
  if (linear) return outcome;
  outcome.count("train_images", train.label_N.size(0));
  outcome.count("train_without_label", inputs.train_features.image.size(0) - train.label_N.size(0));
  outcome.count("train_empty_classes", empty_classes(train.label_N, count));
  return outcome;
}

Outcome measure(const Task& task, const Inputs& inputs, const runtime::TaskContext& context) {
  const auto& settings = task.settings;
  const bool learns = !settings.train_data.empty();
  const auto poll = [&context] { context.stop->throw_if_stopped(); };
  switch (settings.task) {
    case jobs::EvaluateTask::kChoice:
      return choice(task, inputs);
    case jobs::EvaluateTask::kRatings:
      return ratings(task, inputs);
    case jobs::EvaluateTask::kWords:
      return words(task, inputs, context.device);
    case jobs::EvaluateTask::kEntailment:
      return entailment(task, inputs);
    case jobs::EvaluateTask::kAnswers:
      return answers(task, inputs, context.device, poll);
    case jobs::EvaluateTask::kAnalogies:
      return analogies(task, inputs, context);
    default:
      break;
  }
  const bool sets = settings.task == jobs::EvaluateTask::kMultiLabel, named = !settings.label_field.empty();
  if (!learns && !sets && !named &&
      choose_task(settings.task, inputs.features, inputs.data) == jobs::EvaluateTask::kRetrieval)
    return retrieval(task, inputs);
  if (learns) {
    need_labels(inputs.features, inputs.data);
    if (settings.task != jobs::EvaluateTask::kLinearProbe)  // its probe task looks itself
      need_labels(inputs.train_features, settings.train_data);
  }
  Classes classes(settings, inputs.data, task.data(), inputs.shards.front().path, inputs.model.path,
                  context.device);
  if (sets) return multi_label(task, inputs, classes);
  if (named) {
    Inputs own = inputs;
    own.features.label = labels_of(task, inputs.data, inputs.places, settings.label_field, classes.names());
    return zero_shot(task, own, classes);
  }
  if (!learns) return zero_shot(task, inputs, classes);
  return probe(task, inputs, classes, poll);
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
                "its shards need .cls members, or label_field a member of their .json; task retrieval needs "
                "captions instead");
  }
  throw Error(ErrorKind::kInvalid,
              "data set '" + data + "' has no captions" + (labels ? "" : " and no labels") + " to evaluate",
              labels ? "choose task zero_shot" : "its shards need .txt or .cls members");
}

namespace {

Outcome model_outcome(const Task& task, const runtime::TaskContext& context,
                      const std::function<std::string(const io::Path&)>& hash) {
  const Inputs inputs = read_all(task, *context.stop);
  Outcome outcome = measure(task, inputs, context);
  outcome.result.dataset = inputs.data.empty() ? "simlex999" : inputs.data;
  outcome.result.model = task.settings.model;
  outcome.result.language = task.settings.language;
  if (outcome.result.language.empty()) outcome.result.language = jobs::language_of(task.settings.prompts);
  if (outcome.result.language.empty()) outcome.result.language = "en";
  // The weights alone: a run's folder holds its log, too, with times.
  outcome.result.pretrained = hash(io::Path(inputs.model.path) / "model.safetensors");
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

std::string EvaluateStage::hash_of(const io::Path& weights) {
  const io::FileStatus now = io::status_of(weights);
  auto& [status, hash] = hashed_[weights.string()];
  if (hash.empty() || status != now) hash = io::hex(io::xxh3_of_file(weights));
  status = now;
  return hash;
}

jobs::TaskDone EvaluateStage::work(const Task& task, runtime::TaskContext& context) {
  Outcome outcome =
      task.settings.task == jobs::EvaluateTask::kCaptions
          ? captions_outcome(task, context)
          : model_outcome(task, context, [this](const io::Path& path) { return hash_of(path); });
  io::write_file_atomic(task.output(), evaluation::to_json(outcome.result) + "\n");
  if (context.metrics != nullptr)
    for (const auto& [name, value] : outcome.result.metrics)
      context.metrics->set("trireme_evaluation_value", value,
                           {{"set", outcome.result.dataset}, {"metric", name}});
  outcome.summary["task"] = outcome.result.task;
  outcome.summary["dataset"] = outcome.result.dataset;
  if (!outcome.result.rules.empty()) outcome.summary["rules"] = outcome.result.rules;
  outcome.summary["metrics"] = json_of(outcome.result.metrics);
  outcome.summary["chance"] = json_of(outcome.result.chance);
  jobs::TaskDone result;
  result.counts = {{"images", outcome.summary["images"].get<std::int64_t>()}};
  result.summary = outcome.summary.dump();
  if (context.progress) context.progress(1, 1);
  return result;
}

}  // namespace trireme::worker::stages::evaluate
