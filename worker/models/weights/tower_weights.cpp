#include "worker/models/weights/tower_weights.h"

#include <cmath>
#include <sstream>

#include <ATen/ATen.h>

#include "common/base/error.h"
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
  for (const char* head : {"visual.proj", "text_projection", "text.text_projection", "text.projection",
                           "visual_projection", "head.weight"})
    if (name.starts_with(head)) return true;
  return false;
}

bool is_temperature(const std::string& name) {
  return name == "logit_scale" || name == "temperature";
}

// Of the tower that is loaded? Layouts of one tower have nothing else.
bool belongs(checkpoint::Layout layout, WeightPart part, const std::string& theirs) {
  using checkpoint::Layout;
  if (part == WeightPart::kBoth || part == WeightPart::kTemperature) return part == WeightPart::kBoth;
  const bool image = layout == Layout::kTrireme
                         ? theirs.starts_with("visual.") || theirs.starts_with("module.visual.")
                     : layout == Layout::kHfBert ? false
                     : layout == Layout::kHfClip || layout == Layout::kHfAlign || layout == Layout::kHfBlip
                         ? theirs.starts_with("vision_model.")
                         : true;
  return image == (part == WeightPart::kImage);
}

// What fits a target although its shape is another: position embeddings.
at::Tensor fitted(const std::string& name, const at::Tensor& value, const at::Tensor& target,
                  const jobs::ImageTowerSpec& image) {
  if (value.sizes() == target.sizes() || value.dim() != 2 || target.dim() != 2) return value;
  if (name == "positional_embedding" && value.size(0) > target.size(0) && value.size(1) == target.size(1))
    return value.slice(0, 0, target.size(0));
  if (name != "visual.positional_embedding" || value.size(1) != target.size(1)) return value;
  const auto grid = static_cast<std::int64_t>(std::lround(std::sqrt(double(value.size(0) - 1))));
  if (grid * grid + 1 != value.size(0)) return value;
  return resize_positions(value, image.image_px / image.patch_px, image.position_resize == "align_corners");
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

at::Tensor resize_positions(const at::Tensor& positions_GT, std::int64_t side, bool align_corners) {
  const std::int64_t width = positions_GT.size(1);
  const auto grid =
      static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(positions_GT.size(0) - 1))));
  const at::Tensor map_1THW = positions_GT.slice(0, 1)
                                  .to(at::kFloat)
                                  .reshape({1, grid, grid, width})
                                  .permute({0, 3, 1, 2})
                                  .contiguous();
  const at::Tensor resized = align_corners ? at::upsample_bicubic2d(map_1THW, {side, side}, true)
                                           : at::_upsample_bicubic2d_aa(map_1THW, {side, side}, false);
  return at::cat({positions_GT.slice(0, 0, 1).to(at::kFloat),
                  resized.permute({0, 2, 3, 1}).reshape({side * side, width})},
                 0);
}

void load_weights(const std::string& path, const jobs::ModelSpec& spec, WeightPart part,
                  const std::vector<nn::NamedTensor>& targets, std::unordered_set<std::string>& loaded,
                  WeightReading reading) {
  const at::NoGradGuard no_grad;
  const checkpoint::SafetensorsFile file(path);
  const std::vector<std::string> there = file.names();
  const checkpoint::NameMap map(checkpoint::detect_layout(there, path),
                                jobs::is_efficientnet(spec.image) ? efficientnet_shape(spec.image).repeats
                                                                  : std::vector<std::int64_t>());
  WeightFaults faults("weights " + path + " (" + checkpoint::layout_name(map.layout()) + ")");
  check_config_beside(path, file.metadata(), spec, part, faults);
  const bool decoder = spec.text.kind == "decoder" && part != WeightPart::kImage;
  const bool copy = reading == WeightReading::kCopy;
  if (copy && decoder && spec.text.tied_head) check_tied_head(file, faults);
  std::vector<std::string> expected;
  std::unordered_set<std::string> used;
  for (const nn::NamedTensor& target : targets) {
    const auto rule = map.rule(target.name);
    if (rule) expected.insert(expected.end(), rule->theirs.begin(), rule->theirs.end());
    auto theirs = rule ? find_theirs(file, *rule) : std::nullopt;
    // A classifier's head is no projection: those have no bias.
    if (theirs && theirs->front() == "head.weight" && file.contains("head.bias")) theirs.reset();
    if (!theirs) {
      if (!is_projection(target.name) && !is_temperature(target.name))
        faults.missing(rule ? rule->theirs.front() : target.name, there);
      continue;
    }
    used.insert(theirs->begin(), theirs->end());
    const at::Tensor value = fitted(target.name, read_rule(file, *theirs, rule->op, target.tensor.sizes()),
                                    target.tensor, spec.image);
    if (value.sizes() != target.tensor.sizes()) {
      faults.mismatch(theirs->front(), target.tensor.sizes(), value.sizes());
      if (target.name == "decoder.embeddings.word_embeddings.weight" && value.dim() == 2)
        faults.add("vocabulary: the captioner knows " + std::to_string(value.size(0)) +
                   " tokens, its tokenizer and text.extra_tokens " + std::to_string(target.tensor.size(0)));
      if ((target.name == "token_embedding.weight" ||
           target.name == "text.embeddings.word_embeddings.weight") &&
          value.dim() == 2 && value.size(1) == target.tensor.size(1))
        faults.add("vocabulary: the text tower knows " + std::to_string(value.size(0)) +
                   " tokens, text.tokenizer has " + std::to_string(target.tensor.size(0)));
    } else if (!at::isFloatingType(value.scalar_type()))
      faults.add("dtype: " + theirs->front() + " holds " + c10::toString(value.scalar_type()) +
                 ", weights are floating point");
    else if (copy)
      copy_weights(file, *theirs, value, target.tensor, faults);
    loaded.insert(target.name);
  }
  for (const std::string& name : there)
    if (used.count(name) == 0 && !map.ignored(name) && !not_needed(name, decoder) && !is_projection(name) &&
        !is_temperature(name) && belongs(map.layout(), part, name))
      faults.surplus(name, expected);
  faults.throw_if_any(
      "set the tower's kind, width, layers, heads, patch_px, image_px, context, tokenizer and embed_dim to "
      "those of the weights (`trireme weights inspect` prints them), or name another file");
}

}  // namespace trireme::worker::models
