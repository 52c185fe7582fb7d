#include "coordinator/cli/plan/model_costs.h"

#include <cstdio>
#include <sstream>
#include <vector>

#include "common/base/log.h"
#include "coordinator/cli/launch/process.h"
#include "coordinator/cli/plan/spec_file.h"
#include "jobs/specification/json/json_document.h"

namespace trireme::coordinator::cli {
namespace {

using jobs::Json;

double number(const Json& object, const char* key) {
  const Json* found = object.find(key);
  return found == nullptr ? 0 : found->number;
}

std::string gigabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, bytes < 1e9 ? "%.1f MB" : "%.2f GB",
                bytes < 1e9 ? bytes / 1e6 : bytes / 1e9);
  return text;
}

std::string line_of(const std::string& name, const Json& cost) {
  if (const Json* error = cost.find("error")) return "  " + name + "  " + error->text + "\n";
  const Json *image = cost.find("image"), *text = cost.find("text");
  if (image == nullptr || text == nullptr) return "";
  char line[400];
  std::snprintf(
      line, sizeof line,
      "  %s  %.2f M parameters; forward %.3f GFLOPs per image of %.0f px, %.3f per text of %.0f tokens; "
      "%.3f GFLOPs per trained pair; %s of activations per pair\n",
      name.c_str(), number(cost, "parameters") / 1e6, number(*image, "forward_gflops"),
      number(cost, "image_px"), number(*text, "forward_gflops"), number(cost, "context"),
      number(cost, "step_gflops"), gigabytes(number(cost, "activation_bytes")).c_str());
  return line;
}

}  // namespace

ModelCosts ask_model_costs(const jobs::JobSpec& job) {
  if (job.spec.models.empty()) return {"", "{}"};
  const std::string worker = find_program("trireme-worker");
  if (worker.empty())
    return {
        "\nmodels\n  note: FLOPs and memory are left out: trireme-worker is neither beside trireme nor in "
        "$PATH\n",
        "{}"};
  std::vector<std::string> command{worker, "tool", "model-info"};
  for (const auto& [name, model] : job.spec.models) {
    jobs::ModelSpec asked = model;
    if (!jobs::named_stage(asked.init_from).empty()) {  // of weights that are not there yet
      asked.init_from.clear();
      asked.blend.reset();
    }
    command.push_back(jobs::model_json(asked));
  }
  const Captured answer = capture(command, std::chrono::seconds(60));
  if (answer.exit_code != 0)
    return {"\nmodels\n  note: FLOPs and memory are left out: trireme-worker tool model-info failed: " +
                one_line(answer.output, 300) + "\n",
            "{}"};
  std::istringstream lines(answer.output);
  ModelCosts costs{"\nmodels\n", ""};
  Json all = Json::object();
  for (const auto& [name, model] : job.spec.models) {
    std::string line;
    if (!std::getline(lines, line)) break;
    std::vector<jobs::SpecFault> faults;
    const Json cost = jobs::parse_json(line, faults);
    if (!faults.empty()) continue;
    if (const Json* fault = cost.find("fault"))
      costs.faults.push_back({"/spec/models" + jobs::pointer_token(name), "invalid", fault->text, ""});
    costs.text += line_of(name, cost);
    all.set(name, cost);
  }
  costs.json = jobs::dump_json(all);
  return costs;
}

}  // namespace trireme::coordinator::cli
