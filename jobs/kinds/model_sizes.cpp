#include "jobs/kinds/model_sizes.h"

#include <algorithm>
#include <array>

#include "jobs/specification/model_defaults.h"
#include "jobs/specification/shared_pictures.h"

namespace trireme::jobs {
namespace {

// By ImageTowerKind, a vit apart.
constexpr std::array<double, names_of(ImageTowerKind{}).size()> kEfficientNets = {
    0, 4.0e6, 6.5e6, 7.7e6, 10.7e6, 17.5e6, 28.3e6, 40.7e6, 63.8e6, 474e6, 3.4e6, 4.2e6, 4.8e6};
constexpr double kEfficientNetWidth = 1280, kClipPieces = 49408, kWordPieces = 30522;

double blocks(std::int64_t width, std::int64_t layers, double widths) {
  return widths * static_cast<double>(width) * static_cast<double>(width) * static_cast<double>(layers);
}

double of(const ImageTowerSpec& image) {
  if (is_efficientnet(image)) return kEfficientNets[static_cast<std::size_t>(image.kind)];
  const auto width = static_cast<double>(image.width), patch = static_cast<double>(image.patch_px),
             side = static_cast<double>(image.image_px) / patch;
  return blocks(image.width, image.layers, 12) + width * (3 * patch * patch + side * side);
}

double of(const TextTowerSpec& text) {
  const double pieces = text.tokenizer.kind == TokenizerKind::kHashedWords
                            ? static_cast<double>(text.tokenizer.buckets)
                        : text.tokenizer.kind == TokenizerKind::kClipBpe ? kClipPieces
                                                                         : kWordPieces;
  const bool decoder = text.kind == TextTowerKind::kDecoder;  // looks at the image in every block, too
  const auto places =
      static_cast<double>(text.kind == TextTowerKind::kTransformer ? text.context : text.positions);
  return blocks(text.width, text.layers, decoder ? 16 : 12) +
         static_cast<double>(text.width) * (pieces + places);
}

double image_width(const ImageTowerSpec& image) {
  return is_efficientnet(image) ? kEfficientNetWidth : static_cast<double>(image.width);
}

}  // namespace

double parameters_of(const ModelSpec& model, bool learnt_alone) {
  const double projections = model.text.kind == TextTowerKind::kDecoder
                                 ? 0
                                 : static_cast<double>(model.embed_dim) *
                                       (image_width(model.image) + static_cast<double>(model.text.width));
  return projections + (learnt_alone && model.image.frozen ? 0 : of(model.image)) +
         (learnt_alone && model.text.frozen ? 0 : of(model.text));
}

const ModelSpec& ModelSizes::model_of(const std::string& model) const {
  const std::string trained = evaluated_stage(spec_, model);
  if (trained.empty()) return spec_.models.at(model);
  const auto stage = std::ranges::find(spec_.stages, trained, &StageSpec::name);
  return spec_.models.at(std::get<TrainSettings>(stage->settings).model);
}

double ModelSizes::towers(const std::string& model) const {
  return image(model) +
         kFloatBytes * kGuessedCaptions * static_cast<double>(spec_.models.at(model).text.width);
}

double ModelSizes::image(const std::string& model_or_stage) const {
  const std::string trained = named_stage(model_or_stage);
  if (!trained.empty()) return shared(trained) / (1 + kGuessedCaptions);
  return kFloatBytes * image_width(spec_.models.at(model_or_stage).image);
}

double ModelSizes::shared(const std::string& model) const {
  return kFloatBytes * static_cast<double>(model_of(model).embed_dim) * (1 + kGuessedCaptions);
}

double ModelSizes::picture(const std::string& model, const std::string& data) const {
  const auto models = static_cast<double>(models_that_see_alike(spec_, model, data));
  const auto px = static_cast<double>(model_of(model).image.image_px);
  return models > 1 ? 3 * px * px / models : 0;
}

double ModelSizes::adopted(const std::string& model) const {
  return evaluated_stage(spec_, model).empty() ? kFloatBytes * parameters_of(model_of(model)) : 0;
}

double ModelSizes::weights(const TrainSettings& train) const {
  return kFloatBytes * parameters_of(spec_.models.at(train.model));
}

double ModelSizes::checkpoint(const TrainSettings& train) const {
  const double learnt = kFloatBytes * parameters_of(spec_.models.at(train.model), true);
  const double copies = 2 /* moments */ + (train.average.decay > 0 ? 1 : 0);
  return (train.evaluate_every.steps > 0 ? 2 : 1) * weights(train) + copies * learnt;
}

}  // namespace trireme::jobs
