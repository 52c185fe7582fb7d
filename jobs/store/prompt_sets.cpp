#include "jobs/store/prompt_sets.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/nearest_name.h"
#include "common/io/folder.h"
#include "jobs/layouts/line_list.h"
#include "jobs/specification/prompt_template.h"
#include "jobs/store/published.h"

namespace trireme::jobs {
namespace {

using nlohmann::json;

constexpr const char* kClasses = "_classnames.json";
constexpr const char* kTemplates = "_zeroshot_classification_templates.json";
constexpr const char* kUsual = "imagenet1k";  // whose templates stand in for those of a set without any

io::Path folder_of_sets() {
  const io::Path folder = weights_folder();
  if (folder.empty() || !io::is_folder(folder / "clip_benchmark"))
    throw Error(
        ErrorKind::kNotFound,
        "CLIP_benchmark's prompts are not installed: there is no folder " +
            (folder.empty() ? io::Path("clip_benchmark beside the weights") : folder / "clip_benchmark")
                .string(),
        "`./quickstart build` puts them there; or list classes and templates in the job");
  return folder / "clip_benchmark";
}

std::vector<std::string> languages_in(const io::Path& folder) {
  std::vector<std::string> found;
  for (const auto& file : io::list_folder(folder)) {
    const std::string name = file.filename().string();
    if (name.ends_with(kTemplates)) found.push_back(name.substr(0, name.find('_')));
  }
  return found;
}

json read(const io::Path& file) {
  json found = json::parse(io::read_file(file, 64 << 20), nullptr, false);
  if (!found.is_object())
    throw Error(ErrorKind::kDamaged, file.string() + " is no JSON object", "install it again");
  return found;
}

std::vector<std::string> list_of(const json& sets, const std::string& set, const io::Path& file) {
  const auto found = sets.find(set);
  if (found == sets.end() || found->is_null()) return {};
  std::vector<std::string> lines;
  for (const auto& line : *found) {
    if (!line.is_string())
      throw Error(ErrorKind::kDamaged, file.string() + ": " + set + " is no list of texts",
                  "install it again");
    lines.push_back(line.get<std::string>());
  }
  return lines;
}

std::vector<io::Path> lists_in(const io::Path& folder) {
  std::vector<io::Path> files;
  for (const char* name : {kClassNamesFile, kTemplatesFile})
    if (const io::Path file = folder / name; io::is_file(file)) files.push_back(file);
  if (files.empty())
    throw Error(ErrorKind::kNotFound,
                folder.string() + " holds neither " + kClassNamesFile + " nor " + kTemplatesFile,
                "one name, one prompt with {c} a line");
  return files;
}

PromptSet set_in(const io::Path& folder) {
  PromptSet result;
  result.set = folder.string();
  for (const auto& file : lists_in(folder)) {
    const bool names = file.filename() == kClassNamesFile;  // a reader looks beside the file that it is given
    (names ? result.classes : result.templates) = names ? class_names_near(file) : class_templates_near(file);
  }
  return result;
}

}  // namespace

std::string language_of(const std::string& name) {
  if (is_prompt_folder(name)) return "";
  return name.substr(0, std::min(name.find(':'), name.size()));
}

std::vector<io::Path> prompt_set_files(const std::string& name) {
  if (is_prompt_folder(name)) return lists_in(name);
  const io::Path folder = folder_of_sets();
  const std::string language = language_of(name);
  std::vector<io::Path> files;
  for (const char* kind : {kClasses, kTemplates})
    if (const io::Path file = folder / (language + kind); io::is_file(file)) files.push_back(file);
  if (name.find(':') == std::string::npos || !io::is_file(folder / (language + kTemplates))) {
    const auto known = languages_in(folder);
    std::string all;
    for (const auto& one : known) all += (all.empty() ? "" : ", ") + one;
    throw Error(ErrorKind::kNotFound, "there are no prompts \"" + name + "\"",
                "write <language>:<set>; the languages are " + all);
  }
  return files;
}

PromptSet prompt_set(const std::string& name) {
  if (is_prompt_folder(name)) return set_in(name);
  const auto files = prompt_set_files(name);
  PromptSet result;
  result.language = language_of(name);
  result.set = name.substr(result.language.size() + 1);
  std::vector<std::string> known;
  for (const auto& file : files) {
    const json sets = read(file);
    for (const auto& [set, list] : sets.items()) known.push_back(set);
    const bool prompts = file.string().ends_with(kTemplates);
    auto lines = list_of(sets, result.set, file);
    if (prompts && lines.empty()) {
      result.own_templates = false;
      lines = list_of(sets, kUsual, file);
    }
    (prompts ? result.templates : result.classes) = std::move(lines);
  }
  if (result.classes.empty() && !result.own_templates) {
    const std::string near = nearest_name(result.set, known);
    throw Error(ErrorKind::kNotFound, "CLIP_benchmark's prompts know no set \"" + name + "\"",
                near.empty() ? "list the templates in the stage"
                             : "did you mean " + result.language + ":" + near + "?");
  }
  for (auto& prompt : result.templates) prompt = with_class_place(prompt);
  return result;
}

}  // namespace trireme::jobs
