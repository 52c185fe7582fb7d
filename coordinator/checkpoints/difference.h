// What differs between the settings that a checkpoint was made with and those of a job now: the stage, its
// model and its data, by name of the setting. Paths, threads and whatever else the stage does not name are
// left out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme::coordinator::checkpoints {

struct Difference {
  std::string setting;   // "optimizer.learning_rate", "model.embed_dim", "data.train.sources.0.path"
  std::string was, now;  // JSON, "" where it is absent
};

// Both: effective specifications. A stage that one of them lacks differs in all its settings.
std::vector<Difference> differences(std::string_view was, std::string_view now, const std::string& stage);

}  // namespace trireme::coordinator::checkpoints
