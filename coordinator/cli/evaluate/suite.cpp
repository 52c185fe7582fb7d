#include "coordinator/cli/evaluate/suite.h"

#include <algorithm>
#include <set>

#include "common/base/error.h"
#include "common/base/nearest_name.h"
#include "common/io/folder.h"

namespace trireme::coordinator::cli {
namespace {

using json = nlohmann::ordered_json;

constexpr const char* kFormat = "trireme-suite/1";

std::vector<io::Path> suite_folders() {
  const io::Path program = io::own_program().parent_path();
  std::vector<io::Path> folders{program.parent_path() / "share" / "trireme" / "suites"};
  for (io::Path here = program; here.has_relative_path(); here = here.parent_path())
    folders.push_back(here / "jobs" / "suites");
  std::erase_if(folders, [](const io::Path& folder) { return !io::is_folder(folder); });
  return folders;
}

io::Path suite_file(const std::string& given) {
  if (io::is_file(given)) return given;
  std::vector<std::string> known;
  for (const auto& folder : suite_folders()) {
    if (io::is_file(folder / (given + ".json"))) return folder / (given + ".json");
    for (const auto& file : io::list_folder(folder))
      if (file.extension() == ".json") known.push_back(file.stem().string());
  }
  const std::string near = nearest_name(given, known);
  std::string all;
  for (const auto& name : known) all += (all.empty() ? "" : ", ") + name;
  throw Error(ErrorKind::kNotFound, "there is no suite \"" + given + "\"",
              near.empty() ? "known are " + all : "did you mean " + near + "? Known are " + all);
}

class Fields {
 public:
  Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    need(object.is_object(), "is no object");
  }

  template <class T>
  void take(const char* key, T& value, bool required = false) {
    seen_.insert(key);
    const auto found = object_.find(key);
    if (found == object_.end()) return need(!required, std::string("has no \"") + key + "\"");
    try {
      found->get_to(value);
    } catch (const json::exception&) {
      need(false, std::string("has a \"") + key + "\" of another type");
    }
  }
  void finish() const {
    for (const auto& [key, value] : object_.items())
      need(seen_.contains(key), "has an unknown key \"" + key + "\"");
  }
  void need(bool fine, const std::string& what) const {
    if (!fine) throw Error(ErrorKind::kInvalid, where_ + " " + what, "see docs/evaluation.md");
  }

 private:
  const json& object_;
  std::string where_;
  std::set<std::string> seen_;
};

SuiteTask task_of(const json& object, const std::string& where) {
  SuiteTask task;
  Fields fields(object, where);
  std::int64_t classes = 0;
  fields.take("set", task.set, true);
  fields.take("task", task.task, true);
  fields.take("metric", task.metric, true);
  fields.take("prompts", task.prompts);
  fields.take("split", task.split);
  fields.take("no_task", task.no_task);
  fields.take("folders", task.folders);
  fields.take("classes", classes);
  fields.take("settings", task.settings);
  fields.finish();
  if (classes > 0) task.classes = classes;
  if (task.folders.empty()) {
    std::string name = "wds_" + task.set;
    std::ranges::replace(name, '/', '-');
    task.folders.push_back(name);
  }
  return task;
}

// What lies beside the shards of a set: dataset_type.txt of CLIP_benchmark.
std::string type_beside(const io::Path& folder) {
  for (const io::Path& here : {folder, folder.parent_path()})
    if (io::is_file(here / "dataset_type.txt")) {
      std::string type = io::read_file(here / "dataset_type.txt", 1 << 16);
      type.erase(std::remove_if(type.begin(), type.end(), [](unsigned char c) { return c <= ' '; }),
                 type.end());
      return type;
    }
  return "";
}

io::Path with_split(const io::Path& folder, const std::string& split) {
  return io::is_folder(folder / split) ? folder / split : folder;
}

// SimLex-999.txt, which needs no pictures.
bool is_word_list(const io::Path& file) {
  return file.extension() == ".txt" && io::is_file(file) &&
         io::read_file(file, 16 << 20).starts_with("word1\tword2\t");
}

EvaluatedSet set_at(const io::Path& folder, const std::string& task) {
  EvaluatedSet set;
  const std::string name = folder.filename().empty() ? folder.parent_path().filename() : folder.filename();
  set.task.set = name.starts_with("wds_") ? name.substr(4) : name;
  set.folder = with_split(folder, set.task.split);
  const std::string type = type_beside(set.folder);
  set.task.task = !task.empty() && task != "auto" ? task
                  : type == "retrieval"           ? "retrieval"
                  : type == "multilabel"          ? "multi_label"
                  : is_word_list(folder)          ? "word_similarity"
                                                  : "auto";
  return set;
}

}  // namespace

Suite parse_suite(const std::string& text, const std::string& file) {
  const json root = json::parse(text, nullptr, false);
  Suite suite;
  Fields fields(root, file);
  std::string format;
  json tasks = json::array(), averages = json::object();
  fields.take("format", format, true);
  fields.need(format == kFormat, std::string("is no suite of format ") + kFormat);
  fields.take("name", suite.name, true);
  fields.take("about", suite.about);
  fields.take("source", suite.source, true);
  fields.take("confidence", suite.confidence, true);
  fields.take("tasks", tasks, true);
  fields.take("averages", averages);
  fields.finish();
  std::set<std::string> sets;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    suite.tasks.push_back(task_of(tasks[i], file + ", task " + std::to_string(i + 1)));
    const std::string key = suite.tasks.back().set + " " + suite.tasks.back().task;
    fields.need(sets.insert(key).second, "has " + key + " twice");
  }
  fields.need(!suite.tasks.empty(), "has no task");
  for (const auto& [name, list] : averages.items()) {
    suite.averages.emplace_back(name, list.get<std::vector<std::string>>());
    for (const auto& one : suite.averages.back().second)
      fields.need(std::ranges::find(suite.tasks, one, &SuiteTask::set) != suite.tasks.end(),
                  "averages a set that it does not have: " + one);
  }
  if (suite.averages.empty()) {
    suite.averages.emplace_back("mean", std::vector<std::string>{});
    for (const auto& task : suite.tasks) suite.averages.back().second.push_back(task.set);
  }
  return suite;
}

Suite read_suite(const std::string& name_or_file) {
  const io::Path file = suite_file(name_or_file);
  return parse_suite(io::read_file(file, 16 << 20), file.string());
}

std::vector<EvaluatedSet> find_sets(const Suite& suite, const io::Path& root) {
  if (!io::is_folder(root))
    throw Error(ErrorKind::kNotFound, "there is no folder " + root.string(),
                "name the folder that holds the suite's wds_* folders");
  std::vector<EvaluatedSet> sets;
  for (const auto& task : suite.tasks) {
    EvaluatedSet set{task, {}};
    for (const auto& folder : task.folders)
      if (task.no_task.empty() && set.folder.empty() && io::exists(root / folder))
        set.folder = with_split(root / folder, task.split);
    sets.push_back(std::move(set));
  }
  return sets;
}

std::vector<EvaluatedSet> sets_of(const std::vector<std::string>& data, const std::string& task) {
  std::vector<EvaluatedSet> sets;
  for (const auto& given : data) {
    if (!io::exists(given))
      throw Error(ErrorKind::kNotFound, "there is no file or folder " + given,
                  "name data as a job's source does");
    std::vector<io::Path> inside;
    if (io::is_folder(given))
      for (const auto& folder : io::list_folder(given))
        if (io::is_folder(folder) && folder.filename().string().starts_with("wds_")) inside.push_back(folder);
    if (inside.empty()) inside.emplace_back(given);
    for (const auto& folder : inside) sets.push_back(set_at(folder, task));
  }
  return sets;
}

}  // namespace trireme::coordinator::cli
