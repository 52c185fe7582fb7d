#include "worker/stages/train/objectives/classification/classification_objective.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/random.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/data/batches/device_images.h"
#include "worker/data/batches/image_batch.h"
#include "worker/embedding/texts.h"
#include "worker/evaluation/label_metrics.h"
#include "worker/evaluation/zero_shot.h"
#include "worker/kernels/sent.h"

namespace trireme::worker::stages::train {
namespace {

constexpr std::size_t kLookedAtOnce = 32;  // samples of an evaluation pass; part of the result's bits

// Marsaglia and Tsang (2000); below 1 by the power of a uniform number.
double gamma_draw(RandomStream& stream, double shape) {
  if (shape < 1) {
    const double power = std::pow(1 - stream.uniform(), 1 / shape);
    return gamma_draw(stream, shape + 1) * power;
  }
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = stream.normal(), v = std::pow(1 + c * x, 3);
    if (v > 0 && std::log(1 - stream.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

at::Tensor gathered(const at::Tensor& own, collective::Group& group) {
  const at::Tensor counts = group.all_gather(at::full({1}, own.size(0), at::kLong));
  auto shape = own.sizes().vec();
  shape[0] = counts.max().item<std::int64_t>();
  at::Tensor padded = at::zeros(shape, own.options());
  padded.narrow(0, 0, own.size(0)).copy_(own);
  const at::Tensor all = group.all_gather(padded);
  std::vector<at::Tensor> parts;
  for (int r = 0; r < group.size(); ++r)
    parts.push_back(all.narrow(0, r * shape[0], counts[r].item<std::int64_t>()));
  return at::cat(parts);
}

// Captions are put behind pictures: labelled sets name their classes alike.
void check_classes(const std::vector<std::string>& train, const DataSet* evaluated) {
  if (train.empty())
    throw Error(ErrorKind::kInvalid, "the training data name no classes",
                "put classnames.txt beside the shards, or 'classes' into the data set");
  if (evaluated != nullptr && evaluated->classes != train)
    throw Error(ErrorKind::kInvalid,
                "the evaluation data name " + std::to_string(evaluated->classes.size()) +
                    " classes that are not the training data's " + std::to_string(train.size()),
                "labels count in the order of one list: give both the same");
}

}  // namespace

double mixup_share(double alpha, std::uint64_t seed, std::int64_t step, std::int64_t slot) {
  if (alpha <= 0) return 1;
  RandomStream stream(seed, RandomPurpose::kAugment, name_key("mixup") + static_cast<std::uint64_t>(step),
                      static_cast<std::uint32_t>(slot));
  const double a = gamma_draw(stream, alpha), b = gamma_draw(stream, alpha);
  return a + b > 0 ? a / (a + b) : 1;
}

ClassificationObjective::ClassificationObjective(const ObjectiveSetup& setup)
    : setup_(setup), spec_(setup.settings.classification.value_or(jobs::ClassificationSpec{})) {
  classes_ = setup.data.classes;
  check_classes(classes_, setup.evaluated);
  ClassifierOptions options;
  options.classes = static_cast<std::int64_t>(classes_.size());
  options.on_embedding = spec_.embedding;
  options.multi_label = spec_.multi_label;
  options.label_smoothing = setup.settings.loss.label_smoothing;
  options.head_steps = spec_.head_steps;
  options.seed = static_cast<std::uint64_t>(setup.settings.seed);
  options.device = setup.device;
  const bool labelled = setup.data.any_has([&](std::size_t shard, std::int64_t sample) {
    return !labels_of(setup.data, {static_cast<std::int64_t>(shard), sample}).empty();
  });
  if (!labelled)
    throw Error(ErrorKind::kInvalid, "data set '" + setup.settings.data + "' has no labels to learn",
                spec_.multi_label ? "a sample's .json lists its classes in the member \"labels\""
                                  : "its shards need .cls members");
  at::Tensor start_CT;
  if (spec_.head == jobs::HeadStart::kPrompts) {
    const auto templates = embedding::prompt_templates(setup.data.shards.front().ref.path);
    start_CT = embedding::class_vectors(setup.encoder, setup.device, classes_, templates) *
               std::exp(setup.encoder.logit_scale().item<double>());
  }
  at::Tensor bias_C;
  if (spec_.head == jobs::HeadStart::kProbe) {
    const auto probe = std::ranges::find_if(
        setup.inputs, [](const auto& line) { return line.input && line.input->role == jobs::Role::kProbe; });
    if (probe == setup.inputs.end())
      throw Error(ErrorKind::kInternal, "the probe that the head starts as is not among the inputs");
    const checkpoint::SafetensorsFile file{io::Path(probe->input->path)};
    start_CT = file.load("weight");
    bias_C = file.load("bias");
  }
  model_ = std::make_unique<ClassifierModel>(setup.encoder, options, start_CT, bias_C);
}

std::vector<std::int64_t> ClassificationObjective::labels_of(const DataSet& set,
                                                             const data::SamplePosition& sample) const {
  const data::ShardReader& reader = *set.shards[static_cast<std::size_t>(sample.shard)].reader;
  std::vector<std::int64_t> labels;
  const auto add = [&](std::int64_t label, const std::string& said) {
    if (label < 0 || label >= static_cast<std::int64_t>(classes_.size()))
      throw Error(ErrorKind::kInvalid,
                  "sample " + reader.key(sample.sample) + " of " +
                      set.shards[static_cast<std::size_t>(sample.shard)].ref.path + " has label " + said +
                      ", which is none of the " + std::to_string(classes_.size()) + " classes",
                  "labels are numbers from 0, or names of the class list");
    labels.push_back(label);
  };
  if (!spec_.multi_label) {
    if (const auto label = reader.label(sample.sample)) add(*label, std::to_string(*label));
    return labels;
  }
  const auto object = nlohmann::json::parse(reader.json(sample.sample), nullptr, false);
  if (!object.is_object() || !object.contains("labels")) return labels;
  for (const auto& one : object["labels"])
    add(one.is_number_integer()
            ? one.get<std::int64_t>()
            : std::ranges::find(classes_, one.is_string() ? one.get<std::string>() : "") - classes_.begin(),
        one.dump());
  return labels;
}

SlotInput ClassificationObjective::input(data::SlotBatch& batch, std::int64_t step, std::int64_t slot,
                                         std::map<std::string, std::int64_t>& counts) const {
  SlotInput input;
  input.seed = static_cast<std::uint64_t>(setup_.settings.seed);
  input.step = step;
  input.slot = slot;
  const auto rows = batch.samples.size();
  std::vector<std::vector<std::int64_t>> labels(rows);
  std::size_t most = 1;
  for (std::size_t b = 0; b < rows; ++b) {
    if (batch.live[b] == 0) continue;
    labels[b] = labels_of(setup_.data, batch.samples[b]);
    if (labels[b].empty()) {
      batch.live[b] = 0;
      ++counts["no_label"];
    }
    most = std::max(most, labels[b].size());
  }
  const double share = mixup_share(spec_.mixup, input.seed, step, slot);
  const auto width = static_cast<std::int64_t>(2 * most), count = static_cast<std::int64_t>(rows);
  at::Tensor index = at::zeros({count, width}, at::kLong), weight = at::zeros({count, width}, at::kFloat);
  at::Tensor own = at::ones({count}, at::kFloat);  // the share of the row's own picture
  for (std::size_t b = 0; b < rows; ++b) {
    const std::size_t mirror = rows - 1 - b;
    const bool mixed = share < 1 && mirror != b && batch.live[b] != 0 && batch.live[mirror] != 0;
    if (mixed) own[static_cast<std::int64_t>(b)] = share;
    const auto put = [&](const std::vector<std::int64_t>& of, std::int64_t first, double value) {
      for (std::size_t k = 0; k < of.size(); ++k) {
        index[static_cast<std::int64_t>(b)][first + static_cast<std::int64_t>(k)] = of[k];
        weight[static_cast<std::int64_t>(b)][first + static_cast<std::int64_t>(k)] = value;
      }
    };
    put(labels[b], 0, mixed ? share : 1);
    if (mixed) put(labels[mirror], static_cast<std::int64_t>(most), 1 - share);
  }
  const at::Device device(setup_.device);
  const auto preprocess = setup_.encoder.image_preprocess();
  const at::Tensor image_BCHW = data::images_on(batch, {preprocess.mean, preprocess.std}, device);
  input.image_BCHW = image_BCHW;
  if (share < 1) {
    const at::Tensor own_B111 = kernels::sent_to(own.view({count, 1, 1, 1}), device);
    input.image_BCHW = image_BCHW * own_B111 + image_BCHW.flip(0) * (1 - own_B111);
  }
  input.targets = {{kernels::sent_to(index, device), kernels::sent_to(weight, device)}};
  input.live_B = at::tensor(at::ArrayRef<std::uint8_t>(batch.live), at::kByte);
  return input;
}

ClassificationObjective::Chunk ClassificationObjective::measure_chunk(
    const std::vector<data::SamplePosition>& samples) const {
  const DataSet& set = *setup_.evaluated;
  const auto bytes = [&](std::size_t i, std::string& storage) {
    const data::ShardReader& reader = *set.shards[static_cast<std::size_t>(samples[i].shard)].reader;
    return data::encoded_picture(reader, samples[i].sample, storage);
  };
  const auto classes = static_cast<std::int64_t>(classes_.size());
  const auto width = model_->head().front().second.size(1);
  Chunk chunk{at::zeros({0, width}), at::zeros({0}, at::kLong), at::zeros({0, classes})};
  if (samples.empty()) return chunk;
  const auto pictures = data::evaluation_batch(samples.size(), bytes, setup_.encoder.image_preprocess());
  std::vector<std::int64_t> kept, labels;
  std::vector<at::Tensor> targets;
  for (std::size_t row = 0; row < pictures.rows.size(); ++row) {
    const auto own = labels_of(set, samples[pictures.rows[row]]);
    if (own.empty()) continue;
    kept.push_back(static_cast<std::int64_t>(row));
    labels.push_back(own.front());
    targets.push_back(at::zeros({classes}).index_fill_(0, at::tensor(own, at::kLong), 1));
  }
  if (kept.empty()) return chunk;
  const at::Tensor features =
      model_->features(pictures.image_BCHW.to(setup_.device)).to(at::kCPU, at::kFloat);
  return {features.index_select(0, at::tensor(kept, at::kLong)), at::tensor(labels, at::kLong),
          at::stack(targets)};
}

evaluation::Metrics ClassificationObjective::evaluate() {
  const at::NoGradGuard no_grad;
  const auto samples = setup_.evaluated->positions();
  const auto chunks = (samples.size() + kLookedAtOnce - 1) / kLookedAtOnce;
  const auto ranks = static_cast<std::size_t>(setup_.group.size());
  const auto per_rank = (chunks + ranks - 1) / ranks;  // rank r has chunks [r * per_rank, …)
  std::vector<Chunk> own(per_rank);
  setup_.pool.for_each(static_cast<std::int64_t>(per_rank), [&](std::int64_t i) {
    const at::NoGradGuard no_grad_here;
    const auto chunk = static_cast<std::size_t>(setup_.group.rank()) * per_rank + static_cast<std::size_t>(i);
    const auto first = std::min(samples.size(), chunk * kLookedAtOnce),
               last = std::min(samples.size(), first + kLookedAtOnce);
    own[static_cast<std::size_t>(i)] = measure_chunk({samples.begin() + static_cast<std::ptrdiff_t>(first),
                                                      samples.begin() + static_cast<std::ptrdiff_t>(last)});
  });
  std::vector<at::Tensor> features, labels, targets;
  for (const auto& chunk : own) {
    features.push_back(chunk.features_nT);
    labels.push_back(chunk.label_n);
    targets.push_back(chunk.targets_nC);
  }
  const at::Tensor features_NT = gathered(at::cat(features), setup_.group),
                   label_N = gathered(at::cat(labels), setup_.group),
                   targets_NC = gathered(at::cat(targets), setup_.group);
  if (features_NT.size(0) == 0)
    throw Error(ErrorKind::kInvalid, "the evaluation data have no picture with a label",
                "look at evaluate_every.data");
  const at::Tensor weight = model_->head()[0].second.detach().cpu(),
                   bias = model_->head()[1].second.detach().cpu();
  if (spec_.multi_label)
    return {{"mean_average_precision",
             evaluation::average_precision(at::linear(features_NT, weight, bias), targets_NC > 0)
                 .mean()
                 .item<double>()}};
  // A column of ones takes the bias in: the logits are dot products, as zero-shot's.
  return evaluation::zero_shot_metrics(at::cat({features_NT, at::ones({features_NT.size(0), 1})}, 1),
                                       at::cat({weight, bias.unsqueeze(1)}, 1), label_N);
}

void ClassificationObjective::write(const io::Path& folder, const NamedTensors& best) {
  NamedTensors head;
  for (const auto& one : best)
    if (one.first.starts_with("head.")) head.push_back(one);
  if (head.empty())
    for (const auto& [name, tensor] : model_->head()) head.emplace_back(name, tensor.detach().cpu());
  checkpoint::write_safetensors(folder / kClassifierFile, head,
                                {{"classes", nlohmann::json(classes_).dump()},
                                 {"reads", spec_.embedding ? "embedding" : "tower"},
                                 {"multi_label", spec_.multi_label ? "true" : "false"}});
}

}  // namespace trireme::worker::stages::train
