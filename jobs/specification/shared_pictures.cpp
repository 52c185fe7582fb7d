#include "jobs/specification/shared_pictures.h"

#include <algorithm>
#include <set>

#include "jobs/specification/model_defaults.h"

namespace trireme::jobs {

std::string geometry_text(const ImagePreprocess& preprocess) {
  std::string text = std::to_string(preprocess.image_px) + " of " + std::to_string(preprocess.resize_px) +
                     (preprocess.bilinear ? " bilinear" : " bicubic") + (preprocess.pillow ? " pillow" : "");
  if (preprocess.longest) return text + " longest " + std::to_string(preprocess.fill);
  return text + (preprocess.square ? " square" : " shortest") + (preprocess.crop_down ? " down" : "");
}

std::int64_t models_that_see_alike(const PipelineSpec& spec, const std::string& model,
                                   const std::string& data) {
  if (!evaluated_stage(spec, model).empty()) return 1;
  const auto geometry = [&](const std::string& name) {
    ModelSpec of = spec.models.at(name);
    resolve_model_defaults(of);
    return geometry_text(image_preprocess(of.image));
  };
  std::set<std::string> alike{model};
  for (const auto& stage : spec.stages) {
    const auto* evaluate = std::get_if<EvaluateSettings>(&stage.settings);
    if (evaluate == nullptr || evaluate->model.empty() || alike.contains(evaluate->model)) continue;
    const auto sets = {evaluate->data, evaluate->train_data, evaluate->validation_data};
    if (std::ranges::find(sets, data) != sets.end() && evaluated_stage(spec, evaluate->model).empty() &&
        geometry(evaluate->model) == geometry(model))
      alike.insert(evaluate->model);
  }
  return static_cast<std::int64_t>(alike.size());
}

}  // namespace trireme::jobs
