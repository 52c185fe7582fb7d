#include "worker/embedding/kept_model.h"

#include <algorithm>

#include "common/io/hash.h"
#include "jobs/specification/job_spec.h"

namespace trireme::worker::embedding {

models::DualEncoder& KeptModel::get(const jobs::Task& task, const std::string& device,
                                    const std::function<void(models::DualEncoder&)>& loaded) {
  const auto folder = std::ranges::find(task.inputs, jobs::Role::kModel, &jobs::InputFile::role);
  const bool trained = folder != task.inputs.end();
  const std::string key =
      device + "\n" + (trained ? folder->path + "\n" + io::hex(folder->xxh3) : task.model);
  if (key_ == key) return *model_;
  key_.clear();
  model_ = trained ? models::DualEncoder::load(folder->path)
                   : std::make_unique<models::DualEncoder>(jobs::model_from_json(task.model), 0);
  if (loaded) loaded(*model_);
  model_->to(device);
  key_ = key;
  return *model_;
}

}  // namespace trireme::worker::embedding
