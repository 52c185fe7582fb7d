#include "worker/stages/concepts/teacher.h"

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "jobs/specification/model_defaults.h"
#include "jobs/store/published.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/embedding/texts.h"
#include "worker/models/towers/concept_heads.h"
#include "worker/models/towers/towers.h"
#include "worker/models/weights/tower_weights.h"
#include "worker/text/parser/imagenet_classes.h"

namespace trireme::worker::stages::concepts {
namespace {

std::vector<std::string> names_of(const jobs::ConceptVocabulary& list) {
  std::vector<std::string> names;
  for (const auto& one : list.concepts) names.push_back(one.name);
  return names;
}

// ---- classifiers ----

// The name before ".weight" and ".bias" of the last layer.
std::string head_of(const checkpoint::SafetensorsFile& file, const std::string& path) {
  for (const char* name : {"_fc", "classifier", "fc"})
    if (file.contains(name + std::string(".weight")) && file.contains(name + std::string(".bias")))
      return name;
  throw Error(ErrorKind::kInvalid, path + " holds no classifier: none of _fc, classifier and fc is there",
              "name weights with their head, for example pretrained:efficientnet-lite0");
}

jobs::ModelSpec tower_spec(jobs::ImageTowerKind kind) {
  jobs::ModelSpec spec;
  spec.image.kind = kind;
  spec.image.weights = "given";
  spec.image.frozen = true;
  spec.image.image_px = kind == jobs::ImageTowerKind::kEfficientNetLite1   ? 240
                        : kind == jobs::ImageTowerKind::kEfficientNetLite2 ? 260
                                                                           : 224;
  jobs::resolve_model_defaults(spec);
  return spec;
}

class Classifier final : public Teacher {
 public:
  Classifier(const std::string& path, jobs::ImageTowerKind kind, const std::string& device)
      : spec_(tower_spec(kind)), set_(0), tower_(models::make_efficientnet(spec_.image, set_)) {
    std::unordered_set<std::string> loaded;
    models::load_weights(path, spec_, models::WeightPart::kImage, set_.entries(), loaded);
    const checkpoint::SafetensorsFile file{io::Path(path)};
    const std::string head = head_of(file, path);
    weight_VT_ = file.load(head + ".weight").to(at::Device(device), at::kFloat);
    bias_V_ = file.load(head + ".bias").to(at::Device(device), at::kFloat);
    if (weight_VT_.dim() != 2 || weight_VT_.size(1) != tower_->width())
      throw Error(ErrorKind::kInvalid, path + ": its classifier does not fit " + std::string(name_of(kind)),
                  "set tower to what the weights are of");
    for (const auto& entry : set_.entries()) {
      at::Tensor tensor = entry.tensor;
      if (device != "cpu") tensor.set_data(tensor.to(at::Device(device)));
    }
  }

  jobs::ImagePreprocess preprocess() const override { return jobs::image_preprocess(spec_.image); }
  at::Tensor features(const at::Tensor& image_BCHW) override { return tower_->forward(image_BCHW, {}); }
  std::vector<at::Tensor> logits(const at::Tensor& features_BT) override {
    return {at::linear(features_BT, weight_VT_, bias_V_).to(at::kFloat)};
  }

 private:
  jobs::ModelSpec spec_;
  nn::ParameterSet set_;
  std::unique_ptr<models::Tower> tower_;
  at::Tensor weight_VT_, bias_V_;
};

jobs::ConceptVocabularies imagenet() {
  jobs::ConceptVocabulary list{"objects", {}};
  for (auto& one : text::imagenet_classes(text::WordNet::standard()))
    list.concepts.push_back({one.name, -1, one.synset.id, one.synset.gloss});
  return {{std::move(list)}, ""};
}

// ---- models that Trireme trained ----

class Trained final : public Teacher {
 public:
  Trained(const jobs::ConceptsSettings& settings, const TeacherFiles& files,
          const jobs::ConceptVocabularies& settled, const std::string& device)
      : model_(models::DualEncoder::load(files.model)) {
    const at::NoGradGuard no_gradients;
    model_->to(device);
    if (files.vocabulary.empty() && settings.vocabulary.empty()) {
      const models::SavedHeads saved = *models::load_heads(files.model);
      on_embedding_ = saved.on_embedding;
      for (std::size_t i = 0; i < saved.weight_VT.size(); ++i) {
        weight_VT_.push_back(saved.weight_VT[i].to(at::Device(device)));
        bias_V_.push_back(saved.bias_V[i].to(at::Device(device)));
      }
      return;
    }
    on_embedding_ = true;
    const double scale = model_->logit_scale().exp().item<double>();
    for (const auto& list : settled.lists) {
      const at::Tensor vectors =
          embedding::class_vectors(*model_, device, names_of(list), settings.templates);
      weight_VT_.push_back((vectors * scale).to(at::Device(device), at::kFloat));
      bias_V_.push_back(at::zeros({list.size()}, weight_VT_.back().options()));
    }
  }

  jobs::ImagePreprocess preprocess() const override { return model_->image_preprocess(); }
  at::Tensor features(const at::Tensor& image_BCHW) override { return model_->image_features(image_BCHW); }
  std::vector<at::Tensor> logits(const at::Tensor& features_BT) override {
    const at::Tensor rows = on_embedding_ ? model_->project_image(features_BT) : features_BT;
    std::vector<at::Tensor> all;
    for (std::size_t i = 0; i < weight_VT_.size(); ++i)
      all.push_back(at::linear(rows, weight_VT_[i], bias_V_[i]).to(at::kFloat));
    return all;
  }
  std::int64_t stored_width() const override {
    return model_->spec().image.frozen ? model_->image_tower_width() : 0;
  }

 private:
  std::unique_ptr<models::DualEncoder> model_;
  bool on_embedding_ = false;
  std::vector<at::Tensor> weight_VT_, bias_V_;
};

jobs::ConceptVocabularies read_vocabulary(const std::string& path) {
  return jobs::concept_vocabularies_from_json(io::read_file(path), path);
}

void check_classes(const jobs::ConceptVocabularies& settled, const std::string& path) {
  const checkpoint::SafetensorsFile file{io::Path(path)};
  const std::int64_t classes = file.view(head_of(file, path) + ".bias").numel();
  if (settled.lists.size() == 1 && settled.lists[0].size() == classes) return;
  std::string lists;
  for (const auto& list : settled.lists)
    lists += (lists.empty() ? "" : ", ") + list.name + " with " + std::to_string(list.size());
  throw Error(ErrorKind::kInvalid,
              "the teacher " + path + " has " + std::to_string(classes) + " classes, its vocabulary " + lists,
              "a classifier needs one list, a concept per class in its order");
}

jobs::ConceptVocabularies heads_of(const std::string& folder) {
  if (auto heads = models::load_heads(folder)) return std::move(heads->vocabularies);
  throw Error(ErrorKind::kInvalid, folder + " has no concept heads",
              "name a vocabulary, or train it with concepts.heads");
}

}  // namespace

jobs::ConceptVocabularies settle_teacher(const jobs::ConceptsSettings& settings, const TeacherFiles& files) {
  const bool classifier = files.model.empty(), own = !classifier && settings.vocabulary.empty();
  jobs::ConceptVocabularies settled = !files.vocabulary.empty() ? read_vocabulary(files.vocabulary)
                                      : own                     ? heads_of(files.model)
                                                                : imagenet();
  std::string identity = std::string(name_of(settings.precision)) + "\n" + (own ? "heads" : "classes") + "\n";
  if (classifier) {
    const std::string path = jobs::resolve_weights(settings.teacher);
    check_classes(settled, path);
    identity += std::string(name_of(settings.tower)) + "\n" + io::hex(io::xxh3_of_file(path)) + "\n";
  } else {
    for (const char* name : {"model.safetensors", "config.json", models::kHeadsFile})
      if (const io::Path file = io::Path(files.model) / name; io::exists(file))
        identity += io::hex(io::xxh3_of_file(file)) + "\n";
    if (!own)
      for (const auto& text : settings.templates) identity += text + "\n";
  }
  settled.teacher = io::hex(io::xxh3_64(identity));
  for (const auto& list : settled.lists)
    if (settings.top_k > list.size())
      throw Error(ErrorKind::kInvalid,
                  "top_k " + std::to_string(settings.top_k) + " is beyond the vocabulary \"" + list.name +
                      "\" of " + std::to_string(list.size()),
                  "set top_k to at most the size of the smallest vocabulary");
  return settled;
}

std::unique_ptr<Teacher> open_teacher(const jobs::ConceptsSettings& settings, const TeacherFiles& files,
                                      const jobs::ConceptVocabularies& settled, const std::string& device) {
  if (files.model.empty())
    return std::make_unique<Classifier>(jobs::resolve_weights(settings.teacher), settings.tower, device);
  return std::make_unique<Trained>(settings, files, settled, device);
}

}  // namespace trireme::worker::stages::concepts
