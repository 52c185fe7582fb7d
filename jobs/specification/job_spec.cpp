#include "jobs/specification/job_spec.h"

#include <algorithm>
#include <charconv>

#include "common/base/error.h"
#include "common/base/log.h"
#include "jobs/specification/checks/check.h"
#include "jobs/specification/json/field_reader.h"
#include "jobs/specification/json/field_writer.h"
#include "jobs/specification/json/overrides.h"
#include "jobs/specification/model_defaults.h"
#include "jobs/specification/prompt_template.h"

namespace trireme::jobs {
namespace {

// A fault in an override names it; faults stand in document order.
void arrange(std::vector<SpecFault>& faults, const Json& root, const std::vector<std::string>& overrides) {
  std::vector<std::pair<std::size_t, SpecFault>> placed;
  for (SpecFault& fault : faults) {
    const Json& at = nearest_at(root, fault.pointer);
    if (at.override_at >= 0 && fault.code != "override")
      fault.detail +=
          " (from --set " + printable(overrides[static_cast<std::size_t>(at.override_at)], 200) + ")";
    placed.emplace_back(fault.code == "more" ? std::string::npos : at.position, std::move(fault));
  }
  std::ranges::stable_sort(placed, {}, &std::pair<std::size_t, SpecFault>::first);
  std::ranges::transform(placed, faults.begin(), [](auto& one) { return std::move(one.second); });
}

// A data set given in short has its single source's faults at the data set itself.
void shorten_pointers(std::vector<SpecFault>& faults, const Json& root) {
  for (SpecFault& fault : faults) {
    const std::size_t cut = fault.pointer.find("/sources/0");
    if (fault.pointer.rfind("/spec/data/", 0) != 0 || cut == std::string::npos) continue;
    const Json& data = nearest_at(root, fault.pointer.substr(0, cut));
    if (data.find("sources") == nullptr) fault.pointer.erase(cut, std::string_view("/sources/0").size());
  }
}

// "{}" of other programs is our "{c}".
void place_classes(JobSpec& job) {
  const auto all = [](std::vector<std::string>& templates) {
    for (auto& one : templates) one = with_class_place(one);
  };
  for (auto& [name, data] : job.spec.data) all(data.caption_templates);
  for (StageSpec& stage : job.spec.stages) {
    if (auto* evaluate = std::get_if<EvaluateSettings>(&stage.settings)) {
      all(evaluate->templates);
      evaluate->text_prompt = with_class_place(evaluate->text_prompt);
    }
    if (auto* embed = std::get_if<EmbedSettings>(&stage.settings))
      embed->caption_prompt = with_class_place(embed->caption_prompt);
    if (auto* concepts = std::get_if<ConceptsSettings>(&stage.settings)) all(concepts->templates);
  }
}

bool unreadable(const std::vector<SpecFault>& faults) {
  return std::ranges::any_of(faults, [](const SpecFault& fault) {
    return fault.code == "syntax" || fault.code == "too_large" || fault.code == "too_deep";
  });
}

[[noreturn]] void throw_faults(const char* what, const std::vector<SpecFault>& faults) {
  std::string text = std::string("damaged ") + what + ":";
  for (const auto& fault : faults) text += " " + fault.pointer + ": " + fault.detail + ";";
  throw Error(ErrorKind::kInvalid, text, "both sides must run the same version");
}

template <class T>
T from_json(const char* what, std::string_view text, T value = {}) {
  std::vector<SpecFault> faults;
  const Json root = parse_json(text, faults);
  if (faults.empty()) reading::read({root, "", faults}, value, {});
  if (!faults.empty()) throw_faults(what, faults);
  return value;
}

}  // namespace

ReadResult read_job(std::string_view json_text, const std::vector<std::string>& overrides) {
  ReadResult result;
  Json root = parse_json(json_text, result.faults);
  if (unreadable(result.faults)) return result;
  if (root.is(Json::Type::kObject)) apply_overrides(root, overrides, result.faults);
  reading::read({root, "", result.faults}, result.job, {});
  place_classes(result.job);
  if (root.is(Json::Type::kObject) && root.find("spec") != nullptr) {
    check_job(result.job, result.faults);
    shorten_pointers(result.faults, root);
  }
  arrange(result.faults, root, overrides);
  for (auto& [name, model] : result.job.spec.models)
    if (!awaits_config(model)) resolve_model_defaults(model);
  return result;
}

std::string evaluated_stage(const PipelineSpec& spec, const std::string& model) {
  if (std::string named = named_stage(model); !named.empty()) return named;
  const bool trained = std::ranges::any_of(spec.stages, [&](const StageSpec& stage) {
    return stage.name == model && std::holds_alternative<TrainSettings>(stage.settings);
  });
  return trained ? model : "";
}

std::vector<std::string> starting_stages(const ModelSpec& model) {
  std::vector<std::string> stages;
  for (const std::string& from : {model.init_from, model.blend ? model.blend->with : std::string()})
    if (const std::string stage = named_stage(from);
        !stage.empty() && std::ranges::find(stages, stage) == stages.end())
      stages.push_back(stage);
  return stages;
}

std::string effective_json(const JobSpec& job, int indent) {
  return dump_json(FieldWriter::json_of(job), indent);
}

std::string settings_json(const StageSettings& settings) {
  return std::visit([](const auto& one) { return dump_json(FieldWriter::json_of(one)); }, settings);
}

StageSettings settings_from_json(std::string_view kind, std::string_view json_text) {
  StageSettings result;
  const bool known = [&]<std::size_t... I>(std::index_sequence<I...>) {
    return ((stage_kinds()[I] == kind &&
             (result = from_json<std::variant_alternative_t<I, StageSettings>>("stage settings", json_text),
              true)) ||
            ...);
  }
  (std::make_index_sequence<std::variant_size_v<StageSettings>>());
  if (!known) throw Error(ErrorKind::kInvalid, "unknown stage kind \"" + printable(kind, 64) + "\"");
  return result;
}

std::string model_json(const ModelSpec& model) {
  return dump_json(FieldWriter::json_of(model));
}
ModelSpec model_from_json(std::string_view json_text) {
  return from_json<ModelSpec>("model", json_text);
}

std::string data_json(const DataSpec& data) {
  return dump_json(FieldWriter::json_of(data));
}
DataSpec data_from_json(std::string_view json_text) {
  return from_json<DataSpec>("data set", json_text);
}

std::string measure_json(const MeasureSettings& settings) {
  return dump_json(FieldWriter::json_of(settings));
}
MeasureSettings measure_from_json(std::string_view json_text) {
  return from_json<MeasureSettings>("measures", json_text);
}

MeasureSettings measures_of(const FilterSettings& settings) {
  MeasureSettings out;
  out.language = !settings.languages.empty();
  out.parse = settings.min_complexity || settings.min_actions;
  out.ngrams = settings.max_ngrams || settings.min_ngram_count;
  out.pairs = settings.max_images_per_text || settings.max_texts_per_image;
  out.spot = settings.spotted_text_below.has_value();
  out.unique = settings.unique;
  out.near = settings.near_unique;
  out.against = settings.against;
  for (const auto& rule : settings.columns) {
    if (rule.sidecar.empty()) {
      out.columns.push_back(rule.name);
    } else {
      out.scores.push_back(rule.name);
      out.score_folders.push_back(rule.sidecar);
    }
  }
  const bool listed = !settings.keep_list.empty() || !settings.drop_list.empty();
  if (listed && settings.list_by != "key") out.columns.push_back(settings.list_by);
  for (auto* names : {&out.unique, &out.near, &out.against, &out.columns}) {
    std::sort(names->begin(), names->end());
    names->erase(std::unique(names->begin(), names->end()), names->end());
  }
  return out;
}

std::string synthetic_json(const SyntheticSpec& synthetic) {
  return dump_json(FieldWriter::json_of(synthetic));
}
SyntheticSpec synthetic_from_json(std::string_view json_text) {
  return from_json<SyntheticSpec>("synthetic source", json_text);
}

Selection parse_selection(std::string_view text) {
  Selection selection;
  if (text.empty()) return selection;
  const std::size_t colon = text.find(':');
  const auto number = [&](std::string_view digits, std::int64_t& value) {
    if (digits.empty()) return;  // "400:" and ":400" leave that end open
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size() || value < 0)
      throw Error(ErrorKind::kInvalid, "\"" + printable(text, 64) + "\" is no selection",
                  "write it as \"0:400\"");
  };
  if (colon == std::string_view::npos)
    throw Error(ErrorKind::kInvalid, "\"" + printable(text, 64) + "\" is no selection",
                "write it as \"0:400\"");
  number(text.substr(0, colon), selection.first);
  number(text.substr(colon + 1), selection.last);
  if (selection.first >= selection.last)
    throw Error(ErrorKind::kInvalid, "\"" + printable(text, 64) + "\" selects nothing",
                "the last position is excluded");
  return selection;
}

}  // namespace trireme::jobs
