#include "worker/stages/evaluate/evaluate_stage.h"

#include <algorithm>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "common/io/hash.h"
#include "jobs/spec/job_spec.h"
#include "worker/data/shard_reader.h"
#include "worker/evaluation/retrieval.h"
#include "worker/evaluation/zero_shot.h"
#include "worker/models/dual_encoder.h"
#include "worker/models/encode_texts.h"

namespace trireme::worker::stages::evaluate {
namespace {

struct Inputs {
  std::vector<jobs::ShardRef> shards;
  jobs::InputFile model;
  checkpoint::Features features;
  std::string data;  // name of the data set
};

Inputs read_all(const jobs::Task& task, const runtime::StopRequest& stop) {
  Inputs inputs;
  std::vector<checkpoint::Features> parts;
  for (const auto& line : runtime::read_inputs(task)) {
    stop.throw_if_stopped();
    if (line.shard) inputs.shards.push_back(*line.shard);
    if (!line.input) continue;
    if (line.input->role == "model") inputs.model = *line.input;
    if (line.input->role != "features") continue;
    auto part = checkpoint::read_features(line.input->path);
    if (part.space == "shared") parts.push_back(std::move(part));
  }
  // A range without labels among ranges with them (or an empty one) has none of the tensor.
  const bool labelled =
      std::any_of(parts.begin(), parts.end(), [](const auto& part) { return part.label.defined(); });
  for (auto& part : parts) {
    if (labelled && !part.label.defined()) part.label = at::full_like(part.sample, -1);
  }
  inputs.features = checkpoint::concatenate(parts);
  inputs.data = inputs.shards.empty() ? "" : inputs.shards.front().data;
  if (!inputs.features.image.defined() || inputs.features.image.size(0) == 0) {
    throw Error(ErrorKind::kInvalid,
                "stage '" + task.stage + "' has no embedded image of data set '" + inputs.data + "'",
                "look at the counts of its embed tasks: every image was bad or dropped");
  }
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
  Outcome outcome;
  outcome.result.task = "zeroshot_retrieval";
  outcome.result.metrics = evaluation::retrieval_recall(image, text, owner, settings.recall_k);
  outcome.result.chance = evaluation::retrieval_chance(image.size(0), owner, settings.recall_k);
  outcome.summary["images"] = image.size(0);
  outcome.summary["captions"] = text.size(0);
  return outcome;
}

std::vector<std::string> prompt_templates(const jobs::EvaluateSettings& settings, const std::string& shard) {
  if (!settings.templates.empty()) return settings.templates;
  auto templates = data::class_templates(shard);
  return templates.empty() ? std::vector<std::string>{"a photo of a {c}."} : templates;
}

Outcome zero_shot(const Inputs& inputs, const jobs::EvaluateSettings& settings, const jobs::DataSpec& data,
                  const std::string& device) {
  const std::string& shard = inputs.shards.front().path;
  const auto classes = data::class_names(shard, data.classes);
  if (classes.empty()) {
    throw Error(
        ErrorKind::kInvalid, "data set '" + inputs.data + "' has labels, but its classes have no names",
        "list them in spec.data." + inputs.data + ".classes, or put classnames.txt beside the shards");
  }
  const auto templates = prompt_templates(settings, shard);
  auto model = models::DualEncoder::load(inputs.model.path);
  model->to(device);
  model->train(false);
  const auto labelled = inputs.features.label.ge(0).nonzero().squeeze(1);
  const auto image = inputs.features.image.index_select(0, labelled);
  const auto label = inputs.features.label.index_select(0, labelled);
  const auto count = static_cast<std::int64_t>(classes.size());
  const auto measure = [&](const std::vector<std::string>& fill_in) {
    const auto prompts =
        models::encode_texts(*model, device, evaluation::class_prompts(classes, fill_in), /*project=*/true)
            .rows;
    return evaluation::zero_shot_metrics(image, evaluation::class_embeddings(prompts, count), label);
  };
  Outcome outcome;
  outcome.result.task = "zeroshot_classification";
  outcome.result.metrics = measure(templates);
  outcome.summary["bare_names"] = json_of(measure({"{c}"}));
  outcome.result.chance = evaluation::zero_shot_chance(count);
  outcome.summary["images"] = image.size(0);
  outcome.summary["classes"] = count;
  outcome.summary["templates"] = templates.size();
  return outcome;
}

}  // namespace

std::string choose_task(const std::string& wanted, const checkpoint::Features& features,
                        const std::string& data) {
  const bool labels = features.label.defined() && features.label.ge(0).any().item<bool>();
  const bool texts = features.text.defined() && features.text.size(0) > 0;
  if (wanted != "retrieval" && labels) return "zero_shot";
  if (wanted != "zero_shot" && texts) return "retrieval";
  if (wanted == "zero_shot") {
    throw Error(ErrorKind::kInvalid, "data set '" + data + "' has no labels for zero-shot classification",
                "its shards need .cls members; task retrieval needs captions instead");
  }
  throw Error(ErrorKind::kInvalid,
              "data set '" + data + "' has no captions" + (labels ? "" : " and no labels") + " to evaluate",
              labels ? "choose task zero_shot" : "its shards need .txt or .cls members");
}

jobs::TaskDone EvaluateStage::run(const jobs::Task& task, runtime::TaskContext& context) {
  const auto settings = std::get<jobs::EvaluateSettings>(jobs::settings_from_json("evaluate", task.settings));
  const Inputs inputs = read_all(task, *context.stop);
  const std::string kind = choose_task(settings.task, inputs.features, inputs.data);
  Outcome outcome = kind == "retrieval"
                        ? retrieval(inputs, settings)
                        : zero_shot(inputs, settings, jobs::data_from_json(task.data), context.device);
  outcome.result.dataset = inputs.data;
  outcome.result.model = settings.model;
  outcome.result.pretrained = io::hex(inputs.model.xxh3);
  const std::string path = task.output + ".evaluation.json";
  io::write_file_atomic(path, evaluation::to_json(outcome.result) + "\n");
  outcome.summary["task"] = outcome.result.task;
  outcome.summary["dataset"] = inputs.data;
  outcome.summary["metrics"] = json_of(outcome.result.metrics);
  outcome.summary["chance"] = json_of(outcome.result.chance);
  jobs::TaskDone result;
  result.outputs = {runtime::describe_output("", path)};
  result.counts = {{"images", outcome.summary["images"].get<std::int64_t>()}};
  result.summary = outcome.summary.dump();
  if (context.progress) context.progress(1, 1);
  return result;
}

}  // namespace trireme::worker::stages::evaluate
