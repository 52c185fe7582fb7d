#include "coordinator/sweep/sweep_file.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/nearest_name.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "jobs/specification/json/field_reader.h"
#include "jobs/specification/json/names.h"
#include "jobs/specification/spec_paths.h"

namespace trireme::coordinator::sweep {
namespace {

using jobs::Json;
using jobs::SpecFault;
using jobs::reading::Place;

constexpr std::size_t kLongestFile = std::size_t{1} << 20;

struct Members {
  std::string api_version, kind, name, about, output, main_metric, baseline;
  Json base, set, arms, grid;
  std::vector<std::int64_t> seeds{0};
  std::vector<std::string> seed_paths, metrics;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("apiVersion", api_version, {.choices = {"trireme/v1"}, .required = true});
    v.field("kind", kind, {.choices = {"Sweep"}, .required = true});
    v.field("name", name, {.help = "name of the sweep", .least = 1, .most = 64, .required = true});
    v.field("about", about, {.help = "a remark, shown in the report"});
    v.field("output", output, {.help = "folder of the sweep", .least = 1, .required = true});
    v.field("base", base, {.help = "a job file, or a job", .required = true});
    v.field("set", set, {.help = "values of every run"});
    v.field("arms", arms, {.help = "named sets of values"});
    v.field("grid", grid, {.help = "lists of values"});
    v.field("seeds", seeds, {.help = "one run of every row per seed", .least = 1, .most = 1000});
    v.field("seed_paths", seed_paths, {.help = "values that take the seed", .least = 1, .most = 64});
    v.field("metrics", metrics, {.help = "shown in the table", .least = 1, .most = 1000});
    v.field("main_metric", main_metric, {.help = "of the chart and the comparison", .least = 1});
    v.field("baseline", baseline, {.help = "arm that the others are compared with", .least = 1});
  }
};

SweepSetting setting(const std::string& path, const Json& value, const Place& place) {
  return {path, jobs::dump_json(value), place.pointer};
}

// A path as --set takes it.
bool path_is_sound(const Place& place, const std::string& path) {
  if (path.rfind("spec.", 0) != 0 && path.rfind("labels.", 0) != 0) {
    place.fault("invalid", "\"" + printable(path, 200) + "\" is no path of a job",
                "start with spec., for example spec.stages.train.epochs");
    return false;
  }
  if (path == "spec.output") {
    place.fault("invalid", "each run has an output folder of its own", "set the sweep's output instead");
    return false;
  }
  if (path.find('=') == std::string::npos) return true;
  place.fault("invalid", "a path holds no '='", "write the value after the colon");
  return false;
}

std::vector<SweepSetting> settings_of(const Place& place) {
  std::vector<SweepSetting> settings;
  if (place.value.is(Json::Type::kNull) || !jobs::reading::expect(place, Json::Type::kObject, "an object"))
    return settings;
  for (std::size_t i = 0; i < place.value.keys.size(); ++i) {
    const Place child = place.at(place.value.items[i], place.value.keys[i]);
    if (path_is_sound(child, place.value.keys[i]))
      settings.push_back(setting(place.value.keys[i], place.value.items[i], child));
  }
  return settings;
}

std::vector<SweepArm> arms_of(const Place& place) {
  std::vector<SweepArm> arms;
  if (place.value.is(Json::Type::kNull)) return {{"", {}}};
  if (!jobs::reading::expect(place, Json::Type::kObject, "an object of named arms")) return arms;
  if (place.value.keys.empty()) place.fault("out_of_range", "there is no arm", "leave arms out, or name one");
  for (std::size_t i = 0; i < place.value.keys.size(); ++i) {
    const Place child = place.at(place.value.items[i], place.value.keys[i]);
    const std::string& name = place.value.keys[i];
    if (name.empty() || name.size() > 64) child.fault("out_of_range", "an arm's name has 1 to 64 letters");
    if (!child.value.is(Json::Type::kObject))
      jobs::reading::expect(child, Json::Type::kObject, "an object of paths and values");
    else
      arms.push_back({name, settings_of(child)});
  }
  return arms;
}

std::vector<SweepAxis> axes_of(const Place& place) {
  std::vector<SweepAxis> axes;
  if (place.value.is(Json::Type::kNull)) return axes;
  if (!jobs::reading::expect(place, Json::Type::kObject, "an object of lists")) return axes;
  for (std::size_t i = 0; i < place.value.keys.size(); ++i) {
    const Place child = place.at(place.value.items[i], place.value.keys[i]);
    if (!path_is_sound(child, place.value.keys[i]) ||
        !jobs::reading::expect(child, Json::Type::kArray, "a list of values"))
      continue;
    if (child.value.items.empty()) child.fault("out_of_range", "the list is empty", "name a value");
    SweepAxis axis{place.value.keys[i], "", {}, true};
    for (std::size_t k = 0; k < child.value.items.size(); ++k) {
      const Json& value = child.value.items[k];
      axis.values.push_back(setting(axis.path, value, child.at(value, std::to_string(k))));
      axis.numbers = axis.numbers && (value.is(Json::Type::kInteger) || value.is(Json::Type::kNumber));
      for (std::size_t before = 0; before < k; ++before)
        if (axis.values[before].value_json == axis.values[k].value_json)
          child.at(value, std::to_string(k)).fault("invalid", "the value is there twice");
    }
    axes.push_back(std::move(axis));
  }
  return axes;
}

// The shortest ends of the paths, whole names, that are all different.
void label_axes(std::vector<SweepAxis>& axes) {
  const auto ending = [](const std::string& path, int parts) {
    std::size_t at = path.size();
    while (parts-- > 0 && at != std::string::npos && at > 0) at = path.rfind('.', at - 1);
    return at == std::string::npos ? path : path.substr(at + 1);
  };
  for (auto& axis : axes)
    for (int parts = 1; parts < 40; ++parts) {
      axis.label = ending(axis.path, parts);
      const auto same = std::count_if(axes.begin(), axes.end(), [&](const auto& other) {
        return ending(other.path, parts) == axis.label;
      });
      if (same == 1) break;
    }
}

std::string base_of(const Place& place, const io::Path& folder) {
  if (place.value.is(Json::Type::kObject)) return jobs::dump_json(place.value);
  if (!place.value.is(Json::Type::kString)) {
    jobs::reading::expect(place, Json::Type::kString, "the path of a job file, or a job");
    return "";
  }
  const io::Path file = folder / place.value.text;
  try {
    return io::read_file(file, kLongestFile);
  } catch (const Error& error) {
    place.fault("not_found", error.what(), "paths of base start at the folder of the sweep file");
    return "";
  }
}

void check_seeds(const Place& root, const std::vector<std::int64_t>& seeds) {
  const Json* list = root.value.find("seeds");
  if (list == nullptr) return;
  const Place place = root.at(*list, "seeds");
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    const Place child = place.at(*list, std::to_string(i));
    if (seeds[i] < 0) child.fault("out_of_range", "a seed is 0 or more");
    if (std::find(seeds.begin(), seeds.begin() + static_cast<std::ptrdiff_t>(i), seeds[i]) !=
        seeds.begin() + static_cast<std::ptrdiff_t>(i))
      child.fault("invalid", "the seed is there twice");
  }
}

void check_baseline(const Place& root, const std::string& baseline, const std::vector<SweepArm>& arms) {
  if (baseline.empty()) return;
  std::vector<std::string> names;
  for (const auto& arm : arms) names.push_back(arm.name);
  if (std::find(names.begin(), names.end(), baseline) != names.end()) return;
  const std::string near = nearest_name(baseline, names);
  root.faults.push_back({"/baseline", "unknown_name", "there is no arm " + jobs::quoted(baseline),
                         near.empty() ? "name one of the arms" : "did you mean \"" + near + "\"?"});
}

}  // namespace

SweepFile read_sweep_file(std::string_view text, const io::Path& folder, Sweep& sweep,
                          std::vector<SpecFault>& faults) {
  SweepFile file;
  const Json document = jobs::parse_json(text, faults);
  if (!faults.empty()) return file;
  const Place root{document, "", faults};
  Members members;
  jobs::reading::read(root, members, {});
  if (!members.name.empty() && (!jobs::good_name(members.name, true) || members.name[0] == '.'))
    faults.push_back({"/name", "invalid", jobs::quoted(members.name) + " is no name",
                      "use letters, digits, '_', '-' and '.'"});
  check_seeds(root, members.seeds);
  file.base_pointer = "/base";
  if (!members.base.is(Json::Type::kNull)) file.base_text = base_of(root.at(members.base, "base"), folder);
  file.set = settings_of(root.at(members.set, "set"));
  sweep.arms = arms_of(root.at(members.arms, "arms"));
  sweep.axes = axes_of(root.at(members.grid, "grid"));
  label_axes(sweep.axes);
  check_baseline(root, members.baseline, sweep.arms);
  for (std::size_t i = 0; i < members.seed_paths.size(); ++i)
    path_is_sound({document, "/seed_paths/" + std::to_string(i), faults}, members.seed_paths[i]);
  file.seed_paths = std::move(members.seed_paths);
  sweep.name = members.name;
  sweep.about = members.about;
  sweep.output = members.output;
  sweep.seeds = members.seeds;
  sweep.metrics = members.metrics;
  sweep.main_metric = members.main_metric;
  sweep.baseline = members.baseline;
  return file;
}

std::string pointer_part(const std::string& name) {
  return jobs::pointer_token(name);
}

std::string short_hash(const std::string& text) {
  return io::hex(io::xxh3_64(text));
}

void make_absolute(jobs::JobSpec& job) {
  jobs::make_paths_absolute(job, io::working_folder().string());
}

}  // namespace trireme::coordinator::sweep
