// Names, prompts and vectors of the classes of an evaluated set. Names: DataSpec::classes, else those of the
// named prompts (EvaluateSettings::prompts), else classnames.txt beside the shards. Templates: the stage's,
// else those of the named prompts, else the file beside the shards, else "a photo of a {c}.".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "jobs/specification/job_spec.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::stages::evaluate {

class Classes {
 public:
  // `shard`: the first of the data set; `model_folder`: loaded only where prompts are needed. Throws kInvalid
  // without names, and when they are not class_count.
  Classes(const jobs::EvaluateSettings& settings, const std::string& data_name, const jobs::DataSpec& data,
          const std::string& shard, std::string model_folder, std::string device);

  std::int64_t count() const { return static_cast<std::int64_t>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }
  const std::vector<std::string>& templates() const { return templates_; }

  // [C, D] of the prompts that the templates give.
  at::Tensor vectors(const std::vector<std::string>& fill_in);
  double logit_scale();

 private:
  models::DualEncoder& model();

  std::string model_folder_, device_;
  std::vector<std::string> names_, templates_;
  std::unique_ptr<models::DualEncoder> model_;
};

}  // namespace trireme::worker::stages::evaluate
