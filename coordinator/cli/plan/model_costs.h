// What `trireme plan` says of the models: parameters, FLOPs and activation memory, which the worker program
// computes (`trireme-worker tool model-info`) because a tower's arithmetic is the worker's to know.
#pragma once

#include <string>
#include <vector>

#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::cli {

struct ModelCosts {
  std::string text;                     // lines for people, "" without models
  std::string json;                     // an object by model's name; "{}" when nobody could be asked
  std::vector<jobs::SpecFault> faults;  // weights that are there and do not fit their model
};

// A note takes the place of figures where the program is missing or a model cannot be built yet.
ModelCosts ask_model_costs(const jobs::JobSpec& job);

}  // namespace trireme::coordinator::cli
