#include "coordinator/cli/explain.h"

#include <algorithm>
#include <map>
#include <vector>

#include "common/base/log.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "coordinator/cli/client/json_members.h"
#include "jobs/kinds/task_kinds.h"
#include "jobs/store/run_files.h"

namespace trireme::coordinator::cli {
namespace {

using nlohmann::json;

// Main outputs of a stage with that ending, in the order of its tasks.
std::vector<std::string> files_of(const io::Path& stage, std::string_view ending) {
  std::vector<std::string> files;
  io::LineReader lines(stage / "outputs.jsonl");
  for (std::string line; lines.next(line);) {
    const json row = json::parse(line, nullptr, false);
    if (!row.is_object() || !row.contains("outputs")) continue;
    for (const auto& file : row["outputs"])
      if (text_of(file, "path").ends_with(ending)) files.push_back(text_of(file, "path"));
  }
  return files;
}

// The lines of these files that belong to the key.
std::vector<json> lines_of(const std::vector<std::string>& files, const std::string& key) {
  std::string wanted = json{{"key", key}}.dump(-1, ' ', false, json::error_handler_t::replace);
  wanted = wanted.substr(1, wanted.size() - 2);  // the member alone
  std::vector<json> found;
  for (const auto& path : files) {
    const std::string text = io::read_file(path);
    for (auto at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) {
      const auto start = text.rfind('\n', at) + 1, end = std::min(text.find('\n', at), text.size());
      json row = json::parse(text.substr(start, end - start), nullptr, false);
      if (row.is_object() && text_of(row, "key") == key) found.push_back(std::move(row));
    }
  }
  return found;
}

void print_captions(const json& facts, std::ostream& out) {
  if (!facts.contains("captions")) return;
  int position = 0;
  for (const auto& row : facts["captions"]) {
    if (!row.is_array() || row.size() < 8) continue;
    out << "    caption " << position++ << ": " << row[0] << " words, shared by " << row[1] << " images";
    if (row[2] != 0 || row[3] != 0 || row[4] != 0)  // zeros also stand for what the stage did not ask about
      out << ", complexity " << row[2] << " (" << row[3] << " without lone verbs), " << row[4] << " actions";
    if (!row[5].get<std::string>().empty()) out << ", language " << row[5].get<std::string>();
    if (!row[7].get<std::string>().empty())
      out << ", rarest " << row[7].dump() << " (" << row[6] << " times)";
    out << "\n";
  }
}

// The settings of the stage by which a rule drops, "name value"; "" where it has none.
std::string threshold_of(const json& settings, const std::string& rule) {
  static const std::map<std::string, std::vector<const char*>> kSettings = {
      {"short_side", {"short_side_over_px"}},
      {"aspect", {"aspect_below"}},
      {"texts_per_image", {"max_texts_per_image"}},
      {"images_per_text", {"max_images_per_text"}},
      {"rare_ngram", {"max_ngrams", "min_ngram_count"}},
      {"min_words", {"min_words"}},
      {"max_words", {"max_words"}},
      {"language", {"languages", "keep_unknown_language"}},
      {"complexity", {"min_complexity"}},
      {"action", {"min_actions"}},
      {"spotted_text", {"spotted_text_below", "spot_confidence"}},
      {"keep_list", {"keep_list"}},
      {"drop_list", {"drop_list"}},
      {"against", {"against"}}};
  std::string text;
  const auto add = [&](const std::string& name, const json& value) {
    if (value.is_null() || (value.is_array() && value.empty())) return;
    text += (text.empty() ? "" : ", ") + name + " " + value.dump();
  };
  if (const auto found = kSettings.find(rule); found != kSettings.end())
    for (const char* name : found->second) add(name, settings.value(name, json()));
  for (const auto& column : settings.value("columns", json::array())) {
    if (rule != "column." + text_of(column, "name")) continue;
    for (const auto& [name, value] : column.items())
      if (name != "name" && name != "sidecar" && name != "keep_missing") add(name, value);
  }
  return text;
}

// Of the run's effective job; an empty object where there is none.
json settings_of(const std::string& run, const std::string& stage) {
  const io::Path file = io::Path(run) / "spec.json";
  const json document = io::exists(file) ? json::parse(io::read_file(file), nullptr, false) : json();
  if (document.is_object() && document.contains("spec"))
    for (const auto& one : document["spec"].value("stages", json::array()))
      if (one.is_object() && text_of(one, "name") == stage) return one;
  return json::object();
}

void print_story(const std::string& stage, const json& verdict, const json& facts, const json& settings,
                 std::ostream& out) {
  const bool kept = flag_of(verdict, "kept");
  out << stage << ": " << (kept ? "kept" : "dropped") << "\n";
  if (facts.is_object()) {
    if (facts.contains("size"))
      out << "    picture " << facts["size"][0] << " x " << facts["size"][1] << " px";
    if (facts.contains("fault")) out << ", " << text_of(facts, "fault");
    if (facts.contains("texts_per_image")) out << ", " << facts["texts_per_image"] << " texts";
    out << "\n";
    print_captions(facts, out);
    for (const auto& [member, told] :
         {std::pair("columns", "columns"), std::pair("copies", "equal to"),
          std::pair("near", "nearly equal to (bits that differ, cosine or share of words)"),
          std::pair("against", "test image (bits that differ, or cosine)"),
          std::pair("spotted", "text in the picture")})
      if (facts.contains(member)) out << "    " << told << ": " << facts[member].dump() << "\n";
  }
  if (verdict.contains("rules"))
    for (const auto& rule : verdict["rules"]) {
      const std::string name = rule.get<std::string>();
      const json evidence = verdict.value("evidence", json::object());
      const std::string entry = name == "bad_decode"                         ? "reason"
                                : name == "min_words" || name == "max_words" ? "words"
                                                                             : name;
      const std::string threshold = threshold_of(settings, name);
      out << "    rule " << name << (evidence.contains(entry) ? ": " + evidence[entry].dump() : "")
          << (threshold.empty() ? "" : " (" + threshold + ")") << "\n";
    }
  if (kept && verdict.contains("captions"))
    out << "    captions that passed: " << verdict["captions"].dump() << "\n";
}

}  // namespace

int explain_sample(const std::string& run, const std::string& key, const std::string& stage, bool as_json,
                   std::ostream& out) {
  const io::Path folder = store::RunPaths{run}.stages();
  if (!io::is_folder(folder))
    throw Error(ErrorKind::kNotFound, run + " is no output folder of a job: it has no stages/");
  std::vector<io::Path> stages;
  for (const auto& path : io::list_folder(folder))
    if (io::is_folder(path) && (stage.empty() || path.filename() == stage)) stages.push_back(path);
  json stories = json::array();
  for (const auto& path : stages) {
    const auto verdicts = lines_of(files_of(path, jobs::row_of(jobs::TaskKind::kFilter).extension), key);
    const auto facts = lines_of(files_of(path, jobs::row_of(jobs::TaskKind::kMeasure).extension), key);
    for (std::size_t i = 0; i < verdicts.size(); ++i)
      stories.push_back({{"stage", path.filename().string()},
                         {"verdict", verdicts[i]},
                         {"facts", i < facts.size() ? facts[i] : json()}});
  }
  if (stories.empty())
    throw Error(ErrorKind::kNotFound,
                "no filter stage of " + run + " has judged a sample \"" + printable(key, 200) + "\"",
                stage.empty() ? "check the key; unfinished stages know none"
                              : "leave --stage out to look in all of them");
  if (as_json) {
    out << stories.dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
    return 0;
  }
  for (const auto& story : stories)
    print_story(story["stage"].get<std::string>(), story["verdict"], story["facts"],
                settings_of(run, story["stage"].get<std::string>()), out);
  return 0;
}

}  // namespace trireme::coordinator::cli
