#include "worker/stages/evaluate/probe_stage.h"

#include <algorithm>
#include <charconv>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/checkpoint/features.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/collective/group.h"
#include "worker/evaluation/class_draw.h"
#include "worker/stages/evaluate/classes.h"
#include "worker/stages/evaluate/outcome.h"

namespace trireme::worker::stages::evaluate {
namespace {

// Rows that are learnt from: the labels of all workers, the features of this one.
struct Share {
  at::Tensor label_N;               // int64, of all: train_data, then validation_data
  std::int64_t validation = 0;      // the last of them
  std::int64_t unlabelled = 0;      // of train_data, left out
  at::Tensor place_R, features_RD;  // places in label_N of this worker's rows
};

Share read_share(const Task& task, std::int64_t rank, std::int64_t size, const runtime::StopRequest& stop) {
  const auto& settings = task.settings;
  const std::string space = settings.features == jobs::FeatureSpace::kTower ? "tower" : "shared";
  Share share;
  std::vector<at::Tensor> labels, features, places;
  std::int64_t seen = 0;
  for (const auto& data : {settings.train_data, settings.validation_data}) {
    if (data.empty()) continue;
    const std::int64_t before = seen;
    for (const auto& input : task.inputs.all(jobs::Role::kFeatures)) {
      if (input.data != data) continue;
      stop.throw_if_stopped();
      const auto part = checkpoint::read_features(input.path);
      if (part.space != space || part.sample.size(0) == 0) continue;
      const auto label = part.label.defined() ? part.label : at::full_like(part.sample, -1);
      const auto with = label.ge(0).nonzero().squeeze(1);
      if (data == settings.train_data) share.unlabelled += label.size(0) - with.size(0);
      const auto place = at::arange(seen, seen + with.size(0));
      const auto mine =
          ((place % jobs::kProbeSlots).div(jobs::kProbeSlots / size, "floor") == rank).nonzero().squeeze(1);
      labels.push_back(label.index_select(0, with));
      places.push_back(place.index_select(0, mine));
      features.push_back(part.image.index_select(0, with.index_select(0, mine)));
      seen += with.size(0);
    }
    if (seen == before)
      throw Error(ErrorKind::kInvalid, "data set '" + data + "' has no labels for a probe",
                  "its shards need .cls members");
    if (data == settings.validation_data) share.validation = seen - before;
  }
  share.label_N = at::cat(labels);
  share.place_R = at::cat(places);
  if (share.place_R.size(0) == 0)
    throw Error(ErrorKind::kInvalid, "a probe of " + std::to_string(seen) + " samples is too little for " +
                                         std::to_string(size) + " workers");
  share.features_RD = at::empty({share.place_R.size(0), features.front().size(1)}, at::kFloat);
  std::int64_t first = 0;
  for (auto& part : features) {  // one after another, so that they are not there twice
    share.features_RD.narrow(0, first, part.size(0)).copy_(part);
    first += part.size(0);
    part = at::Tensor();
  }
  return share;
}

// Rows of this worker that a penalty is chosen by.
at::Tensor held_rows(const Share& share, std::int64_t classes, std::uint64_t seed) {
  const std::int64_t all = share.label_N.size(0);
  const auto held = share.validation > 0 ? at::arange(all - share.validation, all)
                                         : evaluation::hold_out_fifth(share.label_N, classes, seed).chosen;
  auto is_held = at::zeros({all}, at::kBool);
  is_held.index_fill_(0, held, true);
  return is_held.index_select(0, share.place_R).nonzero().squeeze(1);
}

// Slots of this worker, and how all workers' sums become one.
evaluation::ProbeGang gang_of(const Share& share, collective::Group* group, const std::string& device) {
  evaluation::ProbeGang gang;
  const std::int64_t size = group == nullptr ? 1 : group->size(), own = jobs::kProbeSlots / size,
                     first = group == nullptr ? 0 : group->rank() * own;
  const auto slot_R = share.place_R % jobs::kProbeSlots;
  for (std::int64_t slot = first; slot < first + own; ++slot)
    gang.slots.push_back((slot_R == slot).nonzero().squeeze(1));
  if (size > 1)
    gang.sum = [group, device](at::Tensor& sums) {
      const at::Tensor there = group->takes_device_tensors() ? sums.to(at::Device(device)) : sums;
      sums.copy_(evaluation::sum_in_pairs(group->all_gather(there.unsqueeze(0).contiguous())));
    };
  return gang;
}

std::string exact(double value) {
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

}  // namespace

jobs::TaskDone ProbeStage::work(const Task& task, runtime::TaskContext& context) {
  auto* const group = context.group;
  const Share share = read_share(task, group == nullptr ? 0 : group->rank(),
                                 group == nullptr ? 1 : group->size(), *context.stop);
  const Classes classes(task.settings, task.settings.data, task.data(), task.inputs.shards().front().path, "",
                        context.device);
  const auto highest = share.label_N.max().item<std::int64_t>();
  if (highest >= classes.count())
    throw Error(ErrorKind::kInvalid, "label " + std::to_string(highest) + " of '" + task.settings.train_data +
                                         "' is outside the " + std::to_string(classes.count()) +
                                         " classes of '" + task.settings.data + "'");
  const auto seed = static_cast<std::uint64_t>(task.settings.seed);
  const auto sweep = evaluation::sweep_logistic_regression(
      share.features_RD, share.label_N.index_select(0, share.place_R), classes.count(), seed,
      [&] { context.stop->throw_if_stopped(); }, held_rows(share, classes.count(), seed),
      gang_of(share, group, context.device));
  jobs::TaskDone done;
  const std::int64_t learnt = share.label_N.size(0) - share.validation;
  done.counts = {{"train_images", share.label_N.size(0)}};
  if (group != nullptr && group->rank() != 0) return done;
  const auto empty = (at::bincount(share.label_N.narrow(0, 0, learnt), {}, classes.count()) == 0).sum();
  checkpoint::write_safetensors(
      task.output(),
      {{"weight", sweep.classifier.weight_KD.contiguous()}, {"bias", sweep.classifier.bias_K.contiguous()}},
      {{"c", exact(sweep.c)},
       {"validation_accuracy", exact(sweep.validation_accuracy)},
       {"train_images", std::to_string(learnt)},
       {"validation_images", std::to_string(share.validation)},
       {"train_without_label", std::to_string(share.unlabelled)},
       {"train_empty_classes", std::to_string(empty.item<std::int64_t>())}});
  done.outputs = {runtime::describe_output("", task.output())};
  return done;
}

LearntProbe read_probe(const std::string& path) {
  const checkpoint::SafetensorsFile file{io::Path(path)};
  LearntProbe probe{{file.load("weight"), file.load("bias")}};
  for (const auto& [name, text] : file.metadata()) {
    if (name == "c" || name == "validation_accuracy")
      (name == "c" ? probe.c : probe.validation_accuracy) = std::stod(text);
    else if (name.find("train_") == 0 || name.find("validation_") == 0)
      probe.counts[name] = std::stoll(text);
  }
  if (probe.classifier.weight_KD.dim() != 2 ||
      probe.classifier.bias_K.sizes() != probe.classifier.weight_KD.sizes().slice(0, 1))
    throw Error(ErrorKind::kDamaged, path + " is no probe", "remove the file so that its task runs again");
  return probe;
}

}  // namespace trireme::worker::stages::evaluate
