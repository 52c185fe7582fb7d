#include "worker/stages/filter/cuts_stage.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "jobs/specification/job_spec.h"
#include "worker/stages/filter/facts.h"

namespace trireme::worker::stages::filter {

using nlohmann::json;

jobs::TaskDone CutsStage::work(const Task& task, runtime::TaskContext& context) {
  const auto& settings = task.settings;
  std::map<std::size_t, std::vector<double>> numbers;
  for (const auto& path : task.inputs.paths(jobs::Role::kFacts)) {
    context.stop->throw_if_stopped();
    for (const auto& sample : read_facts(path))
      for (std::size_t i = 0; i < settings.columns.size(); ++i) {
        const auto found = sample.columns.find(settings.columns[i].name);
        if (settings.columns[i].top_fraction && found != sample.columns.end() &&
            found->second.kind == ColumnValue::kNumber)
          numbers[i].push_back(found->second.number);
      }
  }
  json cuts = json::array();
  jobs::TaskDone result;
  for (auto& [rule, values] : numbers) {
    const double wanted =
        std::ceil(*settings.columns[rule].top_fraction * static_cast<double>(values.size()));
    const auto rank =
        static_cast<std::ptrdiff_t>(std::clamp(wanted, 1.0, static_cast<double>(values.size()))) - 1;
    std::nth_element(values.begin(), values.begin() + rank, values.end(), std::greater<>());
    cuts.push_back({rule, values[static_cast<std::size_t>(rank)]});
    result.counts["numbers"] += static_cast<std::int64_t>(values.size());
  }
  io::write_file_atomic(task.output(),
                        json{{"format", "trireme-cuts"}, {"version", 1}, {"cuts", cuts}}.dump() + "\n");

  return result;
}

std::map<std::size_t, double> read_cuts(const std::string& path) {
  try {
    const json document = json::parse(io::read_file(path));
    if (document.at("format") != "trireme-cuts" || document.at("version") != 1)
      throw Error(ErrorKind::kDamaged, path + " holds no cuts of version 1");
    std::map<std::size_t, double> cuts;
    for (const auto& cut : document.at("cuts")) cuts[cut.at(0).get<std::size_t>()] = cut.at(1).get<double>();
    return cuts;
  } catch (const json::exception& error) {
    throw Error(ErrorKind::kDamaged, path + ": " + error.what(),
                "remove the file and run the filter stage again");
  }
}

}  // namespace trireme::worker::stages::filter
