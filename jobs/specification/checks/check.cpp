#include "jobs/specification/checks/check.h"

#include <algorithm>
#include <functional>
#include <set>

#include "common/base/nearest_name.h"
#include "jobs/specification/checks/check_data.h"
#include "jobs/specification/checks/check_model.h"
#include "jobs/specification/checks/check_stage.h"
#include "jobs/specification/json/json_document.h"
#include "jobs/specification/json/names.h"

namespace trireme::jobs {
namespace {

// Long enough to tell a slip from another name, and not a numbered sibling.
bool slip_of(const std::string& name, const std::string& near) {
  const auto letters = [](std::string text) {
    std::erase_if(text, [](char c) { return c >= '0' && c <= '9'; });
    return text;
  };
  return name.size() > 3 && near.size() > 3 && name[0] == near[0] && letters(name) != letters(near);
}

class Checker {
 public:
  Checker(const JobSpec& job, std::vector<SpecFault>& faults) : job_(job), spec_(job.spec), faults_(faults) {}

  void run() {
    if (!job_.name.empty() && (!good_name(job_.name, true) || job_.name[0] == '.'))
      fault("/name", "invalid", quoted(job_.name) + " is no job name",
            "use letters, digits, '_', '-' and '.'");
    for (const auto& [name, data] : spec_.data) {
      check_map_name("/spec/data", name);
      check_data(data, "/spec/data" + pointer_token(name), faults_);
    }
    for (const auto& [name, model] : spec_.models) {
      check_map_name("/spec/models", name);
      check_model(model, "/spec/models" + pointer_token(name), faults_);
    }
    check_numbers();
    check_stage_names();
    for (std::size_t i = 0; i < spec_.stages.size(); ++i) {
      check_needs(i);
      check_stage(spec_, i, used_data_, faults_);
    }
    check_unused_data();
  }

 private:
  void fault(const std::string& pointer, const std::string& code, const std::string& detail,
             const std::string& hint = "") {
    add_fault(faults_, {pointer, code, detail, hint});
  }

  void check_map_name(const std::string& where, const std::string& name) {
    if (!good_name(name, true))
      fault(where + pointer_token(name), "invalid", quoted(name) + " is no name",
            "use at most 64 letters, digits, '_', '-' and '.'");
  }

  void check_numbers() {
    const TimeoutSpec& t = spec_.timeouts;
    const auto ordered = [&](bool fine, const char* field, const char* rule) {
      if (!fine)
        fault(std::string("/spec/timeouts/") + field, "invalid", std::string(rule) + " does not hold",
              "heartbeat < suspect < dead <= fence < lease");
    };
    ordered(t.heartbeat_seconds < t.suspect_seconds, "suspect_seconds",
            "heartbeat_seconds < suspect_seconds");
    ordered(t.suspect_seconds < t.dead_seconds, "dead_seconds", "suspect_seconds < dead_seconds");
    ordered(t.dead_seconds <= t.fence_seconds, "fence_seconds", "dead_seconds <= fence_seconds");
    ordered(t.fence_seconds < t.lease_seconds, "lease_seconds", "fence_seconds < lease_seconds");
    if (spec_.retry.backoff_seconds > spec_.retry.max_backoff_seconds)
      fault("/spec/retry/max_backoff_seconds", "invalid", "is below backoff_seconds");
  }

  void check_stage_names() {
    std::set<std::string> seen;
    for (std::size_t i = 0; i < spec_.stages.size(); ++i) {
      const std::string& name = spec_.stages[i].name;
      const std::string pointer = "/spec/stages/" + std::to_string(i) + "/name";
      if (name.empty()) continue;  // reported while reading
      if (!good_name(name, false))
        fault(pointer, "invalid", quoted(name) + " is no stage name",
              "use a-z, 0-9, '_' and '-', at most 64");
      if (!seen.insert(name).second)
        fault(pointer, "duplicate_name", "two stages are called " + quoted(name), "rename one of them");
    }
  }

  void check_needs(std::size_t index) {
    const StageSpec& stage = spec_.stages[index];
    std::vector<std::string> names;
    for (const auto& other : spec_.stages)
      if (other.name != stage.name) names.push_back(other.name);
    std::set<std::string> seen;
    bool known = true;
    for (std::size_t i = 0; i < stage.needs.size(); ++i) {
      const std::string& need = stage.needs[i];
      const std::string pointer = "/spec/stages/" + std::to_string(index) + "/needs/" + std::to_string(i);
      if (need == stage.name) {
        fault(pointer, "cycle", "the stage needs itself");
        known = false;
      } else if (std::ranges::find(names, need) == names.end()) {
        fault(pointer, "unknown_name", "there is no stage " + quoted(need),
              listed_in_full(faults_) ? "" : meant(need, names));
      } else if (!seen.insert(need).second) {
        fault(pointer, "duplicate_name", quoted(need) + " is listed twice");
      }
    }
    if (!known) return;
    check_cycle(index);
  }

  // A cycle is reported once, at its first stage.
  void check_cycle(std::size_t index) {
    const StageSpec& stage = spec_.stages[index];
    const auto needs = [&](const StageSpec& from, const StageSpec& to) {
      const auto reached = all_needs(spec_.stages, from);
      return std::ranges::find(reached, &to) != reached.end();
    };
    std::string names;
    if (in_cycle_.contains(&stage) || !needs(stage, stage)) return;
    for (const StageSpec& other : spec_.stages)
      if (needs(stage, other) && needs(other, stage)) {
        in_cycle_.insert(&other);
        names += (names.empty() ? "" : ", ") + other.name;
      }
    fault("/spec/stages/" + std::to_string(index) + "/needs", "cycle",
          "these stages need one another: " + names, "take one of the needs away");
  }

  // A data set that no stage names may lie ready for another job; one that almost has the name of a used one
  // is a slip of the pen, and the job would silently run on the other.
  void check_unused_data() {
    for (const auto& [name, data] : spec_.data) {
      if (used_data_.contains(name)) continue;
      const std::string near = nearest_name(name, {used_data_.begin(), used_data_.end()});
      if (slip_of(name, near))
        fault("/spec/data" + pointer_token(name), "unused", "no stage uses data set " + quoted(name),
              "did you mean \"" + near + "\"?");
    }
  }

  const JobSpec& job_;
  const PipelineSpec& spec_;
  std::vector<SpecFault>& faults_;
  std::set<const StageSpec*> in_cycle_;
  std::set<std::string> used_data_;
};

}  // namespace

void check_job(const JobSpec& job, std::vector<SpecFault>& faults) {
  Checker(job, faults).run();
}

std::vector<const StageSpec*> all_needs(const std::vector<StageSpec>& stages, const StageSpec& stage) {
  std::vector<const StageSpec*> found;
  const std::function<void(const StageSpec&)> visit = [&](const StageSpec& from) {
    for (const auto& name : from.needs)
      for (const auto& candidate : stages)
        if (candidate.name == name && std::ranges::find(found, &candidate) == found.end()) {
          found.push_back(&candidate);
          visit(candidate);
        }
  };
  visit(stage);
  return found;
}

}  // namespace trireme::jobs
