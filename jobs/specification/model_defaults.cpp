#include "jobs/specification/model_defaults.h"

#include "common/base/enum_names.h"

namespace trireme::jobs {
namespace {

template <class T>
void fill(std::vector<T>& field, std::vector<T> value) {
  if (field.empty()) field = std::move(value);
}
template <NamedEnum Enum>
void fill(Enum& field, Enum value) {
  if (name_of(field).empty()) field = value;
}

}  // namespace

bool is_efficientnet(const ImageTowerSpec& image) {
  return image.kind != ImageTowerKind::kVit;
}
bool is_efficientnet_lite(const ImageTowerSpec& image) {
  return name_of(image.kind).starts_with("efficientnet_lite");
}

bool awaits_config(const ModelSpec& model) {
  for (const std::string* weights : {&model.init_from, &model.image.weights, &model.text.weights})
    if (!weights->empty() && !weights->starts_with("pretrained:")) return true;
  return false;
}

void resolve_model_defaults(ModelSpec& model) {
  ImageTowerSpec& image = model.image;
  const bool lite = is_efficientnet_lite(image), align = is_efficientnet(image) && !lite;
  if (!image.resize_px)
    image.resize_px = lite ? image.image_px * 8 / 7 : align ? image.image_px * 346 / 289 : image.image_px;
  fill(image.resize_mode, align ? ResizeMode::kSquare : ResizeMode::kShortest);
  fill(image.interpolation, align ? Interpolation::kBilinear : Interpolation::kBicubic);
  const std::vector<double> half(3, 0.5);
  fill(image.mean, lite || align ? half : std::vector<double>{0.48145466, 0.4578275, 0.40821073});
  fill(image.std, lite || align ? half : std::vector<double>{0.26862954, 0.26130258, 0.27577711});
  const bool captioner = model.text.kind == TextTowerKind::kDecoder;  // has no shared space
  if (captioner) image.projection = model.text.projection = ProjectionKind::kNone;
  fill(image.projection, lite || align ? ProjectionKind::kLinear : ProjectionKind::kMatrix);
  if (lite || align) {
    fill(image.padding, lite ? PaddingKind::kSame : PaddingKind::kAsymmetric);
    if (!image.head_conv) image.head_conv = lite;
    fill(image.batch_norm.policy, image.weights.empty() && model.init_from.empty()
                                      ? BatchNormPolicy::kGhost
                                      : BatchNormPolicy::kStored);
  }
  fill(model.text.projection,
       model.text.kind == TextTowerKind::kBert ? ProjectionKind::kLinear : ProjectionKind::kMatrix);
}

}  // namespace trireme::jobs
