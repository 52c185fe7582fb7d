#include "worker/stages/evaluate/classes.h"

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "jobs/layouts/line_list.h"
#include "jobs/store/prompt_sets.h"
#include "worker/embedding/texts.h"

namespace trireme::worker::stages::evaluate {

Classes::Classes(const jobs::EvaluateSettings& settings, const std::string& data_name,
                 const jobs::DataSpec& data, const std::string& shard, std::string model_folder,
                 std::string device)
    : model_folder_(std::move(model_folder)), device_(std::move(device)) {
  jobs::PromptSet set;
  if (!settings.prompts.empty()) set = jobs::prompt_set(settings.prompts);
  names_ = !data.classes.empty()  ? data.classes
           : !set.classes.empty() ? set.classes
                                  : jobs::class_names_near(shard);
  if (names_.empty())
    throw Error(ErrorKind::kInvalid, "data set '" + data_name + "' has labels, but its classes have no names",
                "list them in spec.data." + data_name +
                    ".classes, put classnames.txt beside the shards, or name prompts that have them");
  if (settings.class_count && *settings.class_count != count())
    throw Error(ErrorKind::kInvalid,
                "data set '" + data_name + "' has " + std::to_string(count()) + " class names, not " +
                    std::to_string(*settings.class_count),
                "it is another set, or another version of it");
  templates_ = !settings.templates.empty() ? settings.templates
               : !set.templates.empty()    ? set.templates
                                           : embedding::prompt_templates(shard);
}

at::Tensor Classes::vectors(const std::vector<std::string>& fill_in) {
  return embedding::class_vectors(model(), device_, names_, fill_in);
}

double Classes::logit_scale() {
  return model().logit_scale().item<double>();
}

models::DualEncoder& Classes::model() {
  if (model_ == nullptr) {
    model_ = models::DualEncoder::load(model_folder_);
    model_->to(device_);
  }
  return *model_;
}

}  // namespace trireme::worker::stages::evaluate
