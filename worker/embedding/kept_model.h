// The model of a stage's tasks: loaded once, kept from task to task while they name the same one. One thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "jobs/protocol/messages.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::embedding {

class KeptModel {
 public:
  // What the task's input of role kModel is, a folder that a train stage left; without one Task::model with
  // the weights it names. On `device`. `loaded` sees a model that was not kept before it goes there, and may
  // throw.
  models::DualEncoder& get(const jobs::Task& task, const std::string& device,
                           const std::function<void(models::DualEncoder&)>& loaded = {});

 private:
  std::string key_;
  std::unique_ptr<models::DualEncoder> model_;
};

}  // namespace trireme::worker::embedding
