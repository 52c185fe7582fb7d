#include "coordinator/cli/plan/plan_command.h"

#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "coordinator/cli/plan/model_costs.h"
#include "coordinator/cli/plan/spec_file.h"
#include "coordinator/planner/listing.h"
#include "coordinator/planner/plan_text.h"
#include "jobs/checkpoint/checkpoint_config.h"
#include "jobs/specification/spec_paths.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {

int plan_job(const std::string& file, const std::vector<std::string>& overrides, bool json,
             std::ostream& out) {
  jobs::JobSpec job = read_job_file(file, overrides);
  jobs::make_paths_absolute(job, io::working_folder().string());
  job.spec.store = store::store_of(job.spec);
  jobs::settle_models(job);
  std::vector<jobs::SpecFault> faults;
  planner::ListedJob listed = planner::list_job(job, faults);
  if (!faults.empty()) {
    const bool absent = std::any_of(faults.begin(), faults.end(),
                                    [](const auto& fault) { return fault.code == "not_found"; });
    throw Error(absent ? ErrorKind::kNotFound : ErrorKind::kInvalid,
                file + " names data that cannot be used:" + faults_text(faults));
  }
  const planner::Plan plan = planner::make_plan(job, std::move(listed));
  const ModelCosts costs = ask_model_costs(job);
  if (!costs.faults.empty())
    throw Error(ErrorKind::kInvalid,
                file + " names weights that cannot be used:" + faults_text(costs.faults));
  if (json) {
    auto document = nlohmann::ordered_json::parse(planner::plan_json(plan));
    document["models"] = nlohmann::ordered_json::parse(costs.json);
    out << document.dump() << "\n";
  } else {
    out << planner::plan_text(plan) << costs.text;
  }
  return 0;
}

}  // namespace trireme::coordinator::cli
