#include "worker/stages/adopt/adopt_stage.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "common/io/folder.h"
#include "common/io/machine/aside.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::stages::adopt {

jobs::TaskDone AdoptStage::work(const Task& task, runtime::TaskContext& /*context*/) {
  const io::Path place = task.output();
  const io::Aside mine(place);
  const io::Path& aside = mine.path();
  io::make_folders(aside);
  models::DualEncoder model(jobs::model_from_json(task.message.model), 0);
  model.save(aside.string(), nlohmann::json{{"address", task.message.address}}.dump());
  io::sync_folder(aside);
  io::replace_folder(aside, place);
  jobs::TaskDone done;
  std::int64_t numbers = 0;
  for (const auto& [name, tensor] : model.state()) numbers += tensor.numel();
  done.counts["parameters"] = numbers;
  return done;
}

}  // namespace trireme::worker::stages::adopt
