// The job that `trireme evaluate` is short for: models of spec.models, an evaluate stage per model and set.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "coordinator/cli/evaluate/suite.h"

namespace trireme::coordinator::cli {

// What `trireme weights inspect --json` says of MODEL, as a model of a job. MODEL: an exported or downloaded
// folder or file, a run's output, its final/, or a step of its ckpt/. Throws kInvalid where it is no dual
// encoder, holds numbers that are not finite, or its config asks for what is not understood.
nlohmann::ordered_json model_of_checkpoint(const std::string& model, std::string& resolved);
// The same from the answer.
nlohmann::ordered_json checked_model(const nlohmann::ordered_json& inspected, const std::string& model);

struct StageOfSet {
  std::string stage, set, task, metric;  // metric: of the suite; "" for the usual one of the task
};

struct EvaluateJob {
  nlohmann::ordered_json job;
  std::vector<StageOfSet> stages;  // of the sets that are there
  std::vector<std::string> absent;
};

// `output`: the job's. Absolute paths. Throws kNotFound without a set.
EvaluateJob evaluate_job(const nlohmann::ordered_json& model, const std::vector<EvaluatedSet>& sets,
                         const std::string& output);

// One more model on the same sets in `job.job`, the `number`th (2 and more): its stages.
std::vector<StageOfSet> add_model(EvaluateJob& job, const nlohmann::ordered_json& model, std::size_t number);

}  // namespace trireme::coordinator::cli
