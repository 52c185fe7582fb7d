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

std::string whole_path(const io::Path& path) {
  return io::absolute(path).lexically_normal().string();
}

// Tasks that read none of the captions beside labels and pictures.
bool needs_no_captions(const SuiteTask& task) {
  static const std::set<std::string> kTasks{"zero_shot", "multi_label", "linear_probe",
                                            "knn",       "few_shot",    "answers"};
  return kTasks.contains(task.task);
}

// Folders whose captions a task reads. Elsewhere they would be encoded for nobody; here every task has them,
// so that all share one pass over the pictures.
std::set<std::string> captioned_folders(const std::vector<EvaluatedSet>& sets) {
  std::set<std::string> folders;
  for (const auto& set : sets)
    if (!set.folder.empty() && !needs_no_captions(set.task)) folders.insert(whole_path(set.folder));
  return folders;
}

json source_of(const io::Path& folder, const SuiteTask& task, const std::set<std::string>& captioned) {
  json source{{"path", whole_path(folder)}};
  if (needs_no_captions(task) && !captioned.contains(whole_path(folder))) source["captions"] = "none";
  return source;
}

json data_of(const EvaluatedSet& set, const std::set<std::string>& captioned) {
  json source = source_of(set.folder, set.task, captioned);
  if (set.task.settings.contains("test_select")) source["select"] = set.task.settings["test_select"];
  if (set.task.task == "multi_label" && !set.task.settings.contains("label_field"))
    source["captions"] = "none";  // labels stand in .npy members, which are no captions
  return source;
}

// A file beside the pictures of a set, or one folder up; ratings may be packed by gzip. "" without one.
std::string file_beside(const EvaluatedSet& set, const std::string& name, bool packed) {
  for (const io::Path& folder : {set.folder, set.folder.parent_path()})
    for (const std::string& one : {name, name + ".gz"})
      if ((packed || one == name) && io::is_file(folder / one)) return whole_path(folder / one);
  return "";
}

// What a suite says of a stage beside its own settings: the splits of a probe, files beside the pictures.
// Returns why the set cannot be measured; "" where it can.
std::string add_parts(const EvaluatedSet& set, const std::string& name,
                      const std::set<std::string>& captioned, json& data, json& stage) {
  for (const char* part : {"train", "validation"}) {
    const auto split = set.task.settings.find(std::string(part) + "_split");
    if (split == set.task.settings.end()) continue;
    const io::Path folder = set.folder.parent_path() / split->get<std::string>();
    if (!io::is_folder(folder)) return "there is no split " + split->get<std::string>() + " beside it";
    const std::string named = name + "-" + part;
    data[named] = source_of(folder, set.task, captioned);
    if (const auto select = set.task.settings.find(std::string(part) + "_select");
        select != set.task.settings.end())
      data[named]["select"] = *select;
    stage[std::string(part) + "_data"] = named;
  }
  for (const auto& [key, value] : set.task.settings.items()) {
    if (key.ends_with("_split") || key.ends_with("_select")) continue;
    stage[key] = value;
    if (key != "ratings" && key != "answers") continue;
    stage[key] = json::array();
    for (const auto& file : value.is_array() ? value : json::array({value})) {
      stage[key].push_back(file_beside(set, file.get<std::string>(), key == "ratings"));
      if (stage[key].back() == "") return "there is no " + file.get<std::string>() + " beside it";
    }
    if (key == "answers") stage[key] = json(stage[key].front());
  }
  return "";
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
  const std::set<std::string> captioned = captioned_folders(sets);
  json data = json::object(), stages = json::array();
  for (const auto& set : sets) {
    const SuiteTask& task = set.task;
    if (set.folder.empty()) {
      made.absent.push_back(task.set + (task.no_task.empty() ? "" : " (" + task.no_task + ")"));
      continue;
    }
    const std::string name = stage_name(task.set, task.task, taken);
    json stage{{"name", name}, {"kind", "evaluate"}, {"model", "model"}, {"task", task.task}};
    json own = json::object();  // its data sets
    if (task.task == "word_similarity") {
      stage["ratings"] = json::array({whole_path(set.folder)});
    } else {
      stage["data"] = name;
      own[name] = data_of(set, captioned);
    }
    if (!task.prompts.empty()) stage["prompts"] = task.prompts;
    if (task.classes && task.task != "linear_probe") stage["class_count"] = *task.classes;
    if (const std::string why = add_parts(set, name, captioned, own, stage); !why.empty()) {
      made.absent.push_back(task.set + " (" + why + ")");
      continue;
    }
    data.update(own);
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
                {"models", {{"model", model}}},
                {"stages", stages}}}};
  if (!data.empty()) made.job["spec"]["data"] = data;  // words need none
  return made;
}

std::vector<StageOfSet> add_model(EvaluateJob& job, const json& model, std::size_t number) {
  const std::string name = "model-" + std::to_string(number);
  json& spec = job.job["spec"];
  spec["models"][name] = model;
  std::vector<StageOfSet> made = job.stages;
  for (std::size_t i = 0; i < made.size(); ++i) {
    made[i].stage += "-" + name;
    json stage = spec["stages"][i];  // the first model's come first, in the order of the sets
    stage["name"] = made[i].stage;
    stage["model"] = name;
    spec["stages"].push_back(std::move(stage));
  }
  return made;
}

}  // namespace trireme::coordinator::cli
