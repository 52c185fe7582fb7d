#include "coordinator/cli/evaluate/evaluate_job.h"

#include <algorithm>
#include <set>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "coordinator/cli/launch/process.h"
#include "coordinator/cli/plan/spec_file.h"

namespace trireme::coordinator::cli {
namespace {

using json = nlohmann::ordered_json;

// The folder or file that holds the weights.
std::string weights_of(const std::string& model) {
  const io::Path given(model);
  if (io::is_folder(given) && io::is_file(given / "final" / "model.safetensors"))
    return (given / "final").string();
  if (!io::exists(given) && !model.starts_with("pretrained:"))
    throw Error(ErrorKind::kNotFound, "there is no file or folder " + model,
                "name an exported or downloaded folder, a safetensors file, or a run's output");
  return model;
}

// Names of stages: a-z, 0-9, '_' and '-', at most 64.
std::string stage_name(const std::string& set, const std::string& task, std::set<std::string>& taken) {
  std::string name;
  for (const char c : set) {
    const auto letter = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    const bool plain = (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '_';
    name += plain ? letter : '-';
  }
  name = name.substr(0, 40);
  std::string free = name;
  if (taken.contains(free)) free = name + "-" + task;
  for (int i = 2; taken.contains(free); ++i) free = name + "-" + std::to_string(i);
  taken.insert(free);
  return free;
}

json data_of(const EvaluatedSet& set) {
  json source{{"path", io::absolute(set.folder).lexically_normal().string()}};
  if (set.task.task == "multi_label" && !set.task.settings.contains("label_field"))
    source["captions"] = "none";  // labels stand in .npy members, which are no captions
  return source;
}

}  // namespace

json checked_model(const json& inspected, const std::string& model) {
  const auto list = [&](const char* key) {
    std::string text;
    for (const auto& one : inspected.value(key, json::array()))
      text += (text.empty() ? "" : ", ") + one.get<std::string>();
    return text;
  };
  if (!inspected.contains("model") || inspected["layout"].is_null())
    throw Error(ErrorKind::kInvalid,
                model + " is no model of ours: " + inspected.value("why", std::string("?")),
                "trireme weights inspect " + model + " says what it holds");
  if (const std::string refused = list("refused"); !refused.empty())
    throw Error(ErrorKind::kInvalid, model + ": its config asks for what is not understood: " + refused,
                "numbers without it would be another model's");
  if (const std::string bad = list("not_finite"); !bad.empty())
    throw Error(ErrorKind::kInvalid, model + " holds NaN or infinite numbers in " + bad, "export it again");
  const json& found = inspected["model"];
  for (const char* tower : {"image", "text"})
    if (!found.contains(tower))
      throw Error(ErrorKind::kInvalid,
                  model + " has no " + tower + " tower, and evaluation compares images with texts",
                  "name a checkpoint of both towers");
  if (found["text"].value("kind", std::string()) == "decoder")
    throw Error(ErrorKind::kInvalid, model + " is a captioner, which has no embeddings",
                "caption with it in a job, and score the captions (task captions)");
  return found;
}

json model_of_checkpoint(const std::string& model, std::string& resolved) {
  resolved = weights_of(model);
  const std::string worker = find_program("trireme-worker");
  if (worker.empty())
    throw Error(ErrorKind::kNotFound, "the program trireme-worker is neither beside trireme nor in $PATH",
                "build it (./quickstart build)");
  const std::string path =
      resolved.starts_with("pretrained:") ? resolved : io::absolute(resolved).lexically_normal().string();
  const Captured answer =
      capture({worker, "tool", "weights", "inspect", path, "--json"}, std::chrono::seconds(600));
  const auto begin =
      answer.output.starts_with('{') ? 0 : answer.output.find("\n{");  // remarks may come first
  const json inspected =
      json::parse(begin == std::string::npos ? "" : answer.output.substr(begin), nullptr, false);
  if (answer.exit_code != 0 || !inspected.is_object())
    throw Error(ErrorKind::kInvalid, model + ": " + one_line(answer.output, 600));
  return checked_model(inspected, model);
}

EvaluateJob evaluate_job(const json& model, const std::vector<EvaluatedSet>& sets,
                         const std::string& output) {
  EvaluateJob made;
  std::set<std::string> taken;
  json data = json::object(), stages = json::array();
  for (const auto& set : sets) {
    const SuiteTask& task = set.task;
    if (set.folder.empty()) {
      made.absent.push_back(task.set + (task.no_task.empty() ? "" : " (" + task.no_task + ")"));
      continue;
    }
    const std::string name = stage_name(task.set, task.task, taken);
    data[name] = data_of(set);
    json stage{{"name", name}, {"kind", "evaluate"}, {"data", name}, {"model", "model"}, {"task", task.task}};
    if (!task.prompts.empty()) stage["prompts"] = task.prompts;
    if (task.classes && task.task != "linear_probe") stage["class_count"] = *task.classes;
    if (task.settings.contains("train_split")) {  // of probes, beside the split that is evaluated
      const io::Path train = set.folder.parent_path() / task.settings["train_split"].get<std::string>();
      data[name + "-train"] = json{{"path", io::absolute(train).lexically_normal().string()}};
      if (task.settings.contains("train_select"))
        data[name + "-train"]["select"] = task.settings["train_select"];
      stage["train_data"] = name + "-train";
    }
    for (const auto& [key, value] : task.settings.items())
      if (key != "train_split" && key != "train_select") stage[key] = value;
    stages.push_back(std::move(stage));
    made.stages.push_back({name, task.set, task.task, task.metric});
  }
  if (made.stages.empty())
    throw Error(ErrorKind::kNotFound, "none of the " + std::to_string(sets.size()) + " sets is there",
                "a set is a folder wds_<name> below the root that is given");
  made.job = {{"apiVersion", "trireme/v1"},
              {"kind", "Pipeline"},
              {"name", "evaluate"},
              {"spec",
               {{"output", io::absolute(output).lexically_normal().string()},
                {"data", data},
                {"models", {{"model", model}}},
                {"stages", stages}}}};
  return made;
}

}  // namespace trireme::coordinator::cli
