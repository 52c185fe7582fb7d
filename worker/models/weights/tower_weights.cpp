#include "worker/models/weights/tower_weights.h"

#include <cmath>
#include <sstream>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/nearest_name.h"
#include "jobs/specification/model_defaults.h"
#include "worker/models/towers/efficientnet_shape.h"
#include "worker/models/weights/checkpoint_config.h"

namespace trireme::worker::models {
namespace {

constexpr std::int64_t kMostListed = 20;

std::string shape_text(at::IntArrayRef sizes) {
  std::ostringstream out;
  out << sizes;
  return out.str();
}

bool is_projection(const std::string& name) {
  for (const char* head :
       {"visual.proj", "text_projection", "text.text_projection", "text.projection", "visual_projection",
        "head.weight", "visual.head.proj", "visual.trunk.head.", "text_model.head."})
    if (name.starts_with(head)) return true;
  return false;
}

bool is_of_image(const std::string& projection) {
  return projection.starts_with("visual") || projection.starts_with("head.");
}

bool is_temperature(const std::string& name) {
  return name == "logit_scale" || name == "temperature";
}

// Of the tower that is loaded? Layouts of one tower have nothing else.
bool belongs(checkpoint::Layout layout, WeightPart part, const std::string& theirs) {
  using checkpoint::Layout;
  if (part == WeightPart::kBoth || part == WeightPart::kTemperature) return part == WeightPart::kBoth;
  const bool image = layout == Layout::kTrireme || layout == Layout::kOpenClipTimm
                         ? theirs.starts_with("visual.")
                     : layout == Layout::kHfBert ? false
                     : layout == Layout::kHfClip || layout == Layout::kHfAlign || layout == Layout::kHfBlip ||
                             layout == Layout::kHfSiglip
                         ? theirs.starts_with("vision_model.")
                         : true;
  return image == (part == WeightPart::kImage);
}

// What fits a target although its shape is another: position embeddings.
at::Tensor fitted(const std::string& name, const at::Tensor& value, const at::Tensor& target,
                  const jobs::ModelSpec& spec) {
  if (value.sizes() == target.sizes() || value.dim() != 2 || target.dim() != 2) return value;
  const bool cut = !spec.text.bidirectional && spec.text.readout != jobs::TextReadout::kLast &&
                   spec.text.readout != jobs::TextReadout::kClass;
  if (name == "positional_embedding" && cut && value.size(0) > target.size(0) &&
      value.size(1) == target.size(1))
    return value.slice(0, 0, target.size(0));
  if (name != "visual.positional_embedding" || value.size(1) != target.size(1)) return value;
  const std::int64_t before = spec.image.no_class_token ? 0 : 1, rows = value.size(0) - before;
  const auto grid = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(rows))));
  if (rows < 1 || grid * grid != rows) return value;
  return resize_positions(value, spec.image.image_px / spec.image.patch_px,
                          spec.image.position_resize == jobs::PositionResize::kAlignCorners, before);
}

// A file may hold the output layer beside the embeddings that it shares; then both must be the same.
void check_tied_head(const checkpoint::SafetensorsFile& file, WeightFaults& faults) {
  const std::string head = "text_decoder.cls.predictions.decoder.weight",
                    words = "text_decoder.bert.embeddings.word_embeddings.weight";
  if (file.contains(head) && file.contains(words) && !at::equal(file.view(head), file.view(words)))
    faults.add("head: the output layer is not the word embeddings; set text.tied_head to false");
}

// A captioner's decoder is surplus to other models, and a second copy of a shared tensor to everybody.
bool not_needed(const std::string& theirs, bool decoder) {
  if (!theirs.starts_with("text_decoder.")) return false;
  return !decoder || theirs == "text_decoder.cls.predictions.decoder.weight" ||
         theirs == "text_decoder.cls.predictions.decoder.bias" ||
         theirs == "text_decoder.cls.predictions.bias";
}

// Whether no block has a tensor called like this one of its block.
bool none_ends_with(const std::vector<std::string>& names, const std::string& one) {
  const std::string tail = one.substr(one.find('.', one.find_first_of("0123456789")));
  return std::none_of(names.begin(), names.end(),
                      [&](const std::string& name) { return name.ends_with(tail); });
}

// Straight from the file where dtype and shape are ours.
void copy_weights(const checkpoint::SafetensorsFile& file, const std::vector<std::string>& theirs,
                  const at::Tensor& value, at::Tensor target, WeightFaults& faults) {
  const at::Tensor stored = theirs.size() == 1 ? file.view(theirs.front()) : at::Tensor();
  if (stored.defined() && stored.data_ptr() == value.data_ptr() && stored.sizes() == target.sizes() &&
      value.is_contiguous() && stored.scalar_type() == target.scalar_type())
    file.read_into(theirs.front(), target);
  else
    target.copy_(value);
  if (target.numel() > 0 && !std::isfinite(at::amax(target).item<double>() - at::amin(target).item<double>()))
    faults.add("not finite: " + theirs.front() + " holds NaN or infinite values");
}

}  // namespace

void WeightFaults::add(const std::string& fault) {
  if (count_++ < kMostListed) lines_ += "\n  " + fault;
}

void WeightFaults::missing(const std::string& name, const std::vector<std::string>& there) {
  const std::string near = nearest_name(name, there);
  add("missing: " + name + (near.empty() || near == name ? "" : " (nearest in the file: " + near + ")"));
}

void WeightFaults::surplus(const std::string& name, const std::vector<std::string>& expected) {
  const std::string near = nearest_name(name, expected);
  add("surplus: " + name + (near.empty() || near == name ? "" : " (nearest in the model: " + near + ")"));
}

void WeightFaults::mismatch(const std::string& name, at::IntArrayRef expected, at::IntArrayRef found) {
  add("shape: " + name + " is " + shape_text(found) + ", the model needs " + shape_text(expected));
}

void WeightFaults::throw_if_any(const std::string& hint) const {
  if (count_ == 0) return;
  const std::string more =
      count_ > kMostListed ? "\n  … and " + std::to_string(count_ - kMostListed) + " more" : "";
  throw Error(ErrorKind::kInvalid,
              source_ + " does not fit the model (" + std::to_string(count_) + " faults):" + lines_ + more,
              hint);
}

at::Tensor resize_positions(const at::Tensor& positions_GT, std::int64_t side, bool align_corners,
                            std::int64_t before) {
  const std::int64_t width = positions_GT.size(1);
  const auto grid =
      static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(positions_GT.size(0) - before))));
  const at::Tensor map_1THW = positions_GT.slice(0, before)
                                  .to(at::kFloat)
                                  .reshape({1, grid, grid, width})
                                  .permute({0, 3, 1, 2})
                                  .contiguous();
  const at::Tensor resized = align_corners ? at::upsample_bicubic2d(map_1THW, {side, side}, true)
                                           : at::_upsample_bicubic2d_aa(map_1THW, {side, side}, false);
  return at::cat({positions_GT.slice(0, 0, before).to(at::kFloat),
                  resized.permute({0, 2, 3, 1}).reshape({side * side, width})},
                 0);
}

namespace {

// One file read into one model's tensors.
class WeightLoader {
 public:
  WeightLoader(const std::string& path, const jobs::ModelSpec& spec, WeightPart part, WeightReading reading)
      : file_(checkpoint::SafetensorsFile::of_checkpoint(path)),
        there_(file_.names()),
        map_(checkpoint::detect_layout(there_, path), jobs::is_efficientnet(spec.image)
                                                          ? efficientnet_shape(spec.image).repeats
                                                          : std::vector<std::int64_t>()),
        faults_("weights " + path + " (" + checkpoint::layout_name(map_.layout()) + ")"),
        spec_(spec),
        part_(part),
        copy_(reading == WeightReading::kCopy) {
    if (!file_.remark().empty() && copy_) log_warning("weights", path + ": " + file_.remark());
    const jobs::CheckpointConfig config = config_beside(path, file_.metadata());
    check_config_beside(path, config, spec, part, faults_);
    open_clip_context_ = config.context;
  }

  void run(const std::vector<nn::NamedTensor>& targets, std::unordered_set<std::string>& loaded) {
    const bool decoder = spec_.text.kind == jobs::TextTowerKind::kDecoder && part_ != WeightPart::kImage;
    if (copy_ && decoder && spec_.text.tied_head) check_tied_head(file_, faults_);
    for (const nn::NamedTensor& target : targets) {
      try {
        if (read(target)) loaded.insert(target.name);
      } catch (const c10::Error& error) {  // shapes that no product of tensors has
        faults_.add("shape: " + target.name + " cannot be made of the file's tensors");
      }
    }
    for (const std::string& name : there_)
      if (used_.count(name) == 0 && !map_.ignored(name) && !not_needed(name, decoder) &&
          !is_projection(name) && !is_temperature(name) && belongs(map_.layout(), part_, name))
        faults_.surplus(name, expected_);
    if (!decoder) check_projections(targets, loaded);
    faults_.throw_if_any(
        "set the tower's fields, tokenizer and embed_dim to those of the weights (`trireme weights inspect` "
        "prints "
        "a model that fits them), or name another file");
  }

 private:
  // A trunk may get a new projection. One that the file has in another form, and a checkpoint of both towers
  // without it, would give embeddings of numbers drawn at random.
  void check_projections(const std::vector<nn::NamedTensor>& targets,
                         const std::unordered_set<std::string>& loaded) {
    const bool both = part_ == WeightPart::kBoth;
    for (const bool image : {true, false}) {
      if (part_ == (image ? WeightPart::kText : WeightPart::kImage) || part_ == WeightPart::kTemperature)
        continue;
      std::vector<std::string> ours, theirs;
      for (const nn::NamedTensor& target : targets)
        if (is_projection(target.name) && is_of_image(target.name) == image) ours.push_back(target.name);
      for (const std::string& name : there_)
        if (is_projection(name) && is_of_image(name) == image && used_.count(name) == 0 &&
            !map_.ignored(name) && !is_classifier(name))
          theirs.push_back(name);
      for (const std::string& name : ours)
        if (loaded.count(name) == 0 && (both || !theirs.empty())) faults_.missing(name, theirs);
      const char* field = image ? "image.projection" : "text.projection";
      for (const std::string& name : theirs)
        if (both || !ours.empty())
          faults_.add("surplus: " + name + " (" + field + " decides: \"matrix\", \"linear\" or \"none\")");
    }
  }

  // Beside a bias, timm's head is what it classified with.
  bool is_classifier(const std::string& name) const {
    return name.starts_with("head.") && file_.contains("head.bias");
  }

  bool read(const nn::NamedTensor& target) {
    const auto rule = map_.rule(target.name);
    if (rule) expected_.insert(expected_.end(), rule->theirs.begin(), rule->theirs.end());
    auto theirs = rule ? find_theirs(file_, *rule) : std::nullopt;
    // A classifier's head is no projection: those have no bias.
    if (theirs && theirs->front() == "head.weight" && file_.contains("head.bias")) theirs.reset();
    if (!theirs && rule && rule->zero_if_none && none_ends_with(there_, rule->theirs.front())) {
      if (copy_) at::Tensor(target.tensor).zero_();
      return true;
    }
    if (!theirs) {
      if (!is_projection(target.name) && !is_temperature(target.name))
        faults_.missing(rule ? rule->theirs.front() : target.name, there_);
      return false;
    }
    used_.insert(theirs->begin(), theirs->end());
    const at::Tensor stored = read_rule(file_, *theirs, rule->op, target.tensor.sizes());
    if (target.name == "positional_embedding") check_stretched(theirs->front(), stored);
    const at::Tensor value = fitted(target.name, stored, target.tensor, spec_);
    if (value.sizes() != target.tensor.sizes())
      report_shape(theirs->front(), target, value);
    else if (!at::isFloatingType(value.scalar_type()))
      faults_.add("dtype: " + theirs->front() + " holds " + c10::toString(value.scalar_type()) +
                  ", weights are floating point");
    else if (copy_)
      copy_weights(file_, *theirs, value, target.tensor, faults_);
    return true;
  }

  // open_clip stretches positions to what its config says, so that none of the file's are its own.
  void check_stretched(const std::string& name, const at::Tensor& stored) {
    const std::int64_t marks = spec_.text.readout == jobs::TextReadout::kClass ? 1 : 0;
    if (!open_clip_context_ || stored.dim() != 2 || stored.size(0) - marks == *open_clip_context_) return;
    faults_.add("positions: " + name + " has " + std::to_string(stored.size(0) - marks) +
                ", context_length of open_clip_config.json is " + std::to_string(*open_clip_context_) +
                ": open_clip would interpolate them");
  }

  void report_shape(const std::string& theirs, const nn::NamedTensor& target, const at::Tensor& value) {
    faults_.mismatch(theirs, target.tensor.sizes(), value.sizes());
    if (target.name == "decoder.embeddings.word_embeddings.weight" && value.dim() == 2)
      faults_.add("vocabulary: the captioner knows " + std::to_string(value.size(0)) +
                  " tokens, its tokenizer and text.extra_tokens " + std::to_string(target.tensor.size(0)));
    const bool words =
        target.name == "token_embedding.weight" || target.name == "text.embeddings.word_embeddings.weight";
    if (words && value.dim() == 2 && value.size(1) == target.tensor.size(1))
      faults_.add("vocabulary: the text tower knows " + std::to_string(value.size(0)) +
                  " tokens, text.tokenizer has " + std::to_string(target.tensor.size(0)));
  }

  checkpoint::SafetensorsFile file_;
  std::vector<std::string> there_;
  checkpoint::NameMap map_;
  WeightFaults faults_;
  const jobs::ModelSpec& spec_;
  WeightPart part_;
  bool copy_;
  std::optional<std::int64_t> open_clip_context_;
  std::vector<std::string> expected_;
  std::unordered_set<std::string> used_;
};

}  // namespace

void load_weights(const std::string& path, const jobs::ModelSpec& spec, WeightPart part,
                  const std::vector<nn::NamedTensor>& targets, std::unordered_set<std::string>& loaded,
                  WeightReading reading) {
  const at::NoGradGuard no_grad;
  WeightLoader(path, spec, part, reading).run(targets, loaded);
}

}  // namespace trireme::worker::models
