#include "coordinator/cli/data_checks.h"

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "coordinator/cli/launch/process.h"
#include "coordinator/cli/plan/spec_file.h"
#include "coordinator/planner/listing.h"
#include "coordinator/planner/sources/shard_reading.h"
#include "coordinator/planner/sources/source_listing.h"
#include "jobs/protocol/messages.h"
#include "jobs/specification/spec_paths.h"

namespace trireme::coordinator::cli {
namespace {

using State = Check::State;
constexpr std::size_t kLookedAt = 3;  // shards of a source

std::string counted(const jobs::ShardSummary& summary) {
  std::string text = std::to_string(summary.samples) + " samples";
  for (const auto& [reason, count] : summary.bad) text += ", " + std::to_string(count) + " " + reason;
  for (const auto& [what, words] : {std::pair{"last_dot", "named up to their last dot"},
                                    std::pair{"joined", "with members that are not adjacent"},
                                    std::pair{"members.hidden", "hidden files"}})
    if (const auto found = summary.seen.find(what); found != summary.seen.end() && found->second > 0)
      text += ", " + std::to_string(found->second) + " " + words;
  return text;
}

// What the worker's program complained of, without its name and the end of the line.
std::string said(std::string_view output) {
  constexpr std::string_view kName = "trireme-worker: ";
  if (output.starts_with(kName)) output.remove_prefix(kName.size());
  while (output.ends_with('\n')) output.remove_suffix(1);
  return printable(std::string(output), 2000);
}

// What the worker makes of one shard. `classes`: names that its labels have to lie within.
Check look_at(const std::string& name, const jobs::ShardRef& shard, const jobs::DataSpec& data,
              std::int64_t classes) {
  const std::string worker = find_program("trireme-worker");
  if (worker.empty()) return {State::kNote, name, shard.path, "not read: there is no trireme-worker"};
  const Captured answer = capture({worker, "tool", "look", shard.path, std::string(name_of(shard.format)),
                                   jobs::data_json(data), std::to_string(shard.source)},
                                  std::chrono::minutes(10));
  if (answer.exit_code != 0) return {State::kMissing, name, shard.path, said(answer.output)};
  const auto summary = jobs::summary_from_json(answer.output);
  try {
    planner::check_shard_reading(shard, data.sources.at(static_cast<std::size_t>(shard.source)),
                                 name.substr(name.find(' ') + 1), classes, summary);
  } catch (const Error& error) {
    return {State::kMissing, name, shard.path, error.what()};
  }
  std::int64_t bad = 0;
  for (const auto& [reason, count] : summary.bad) bad += count;
  const bool failing =
      summary.samples == 0 ||
      static_cast<double>(bad) > data.max_bad_fraction * static_cast<double>(bad + summary.samples);
  std::string advice = summary.advice;
  for (std::size_t i = 0; i < summary.examples.size(); ++i)
    advice += (advice.empty() ? "" : i == 0 ? "; first: " : ", ") + summary.examples[i];
  return {failing   ? State::kMissing
          : bad > 0 ? State::kNote
                    : State::kGood,
          name, shard.path + ": " + counted(summary), advice};
}

void check_listed(const planner::ListedJob& listed, std::vector<Check>& checks) {
  for (const auto& [name, shards] : listed.shards) {
    if (const auto decided = listed.decided.find(name); decided != listed.decided.end())
      for (const auto& line : decided->second) checks.push_back({State::kGood, "data " + name, line, ""});
    const auto named = listed.classes.find(name);
    std::map<std::int64_t, std::size_t> looked;
    for (const auto& shard : shards)
      if (looked[shard.source]++ < kLookedAt)
        checks.push_back(look_at("data " + name, shard, listed.data.at(name),
                                 named == listed.classes.end() ? 0 : named->second));
  }
  for (const auto& note : listed.notes) checks.push_back({State::kNote, "data", note, ""});
}

}  // namespace

std::vector<Check> check_data_of(const std::string& what, const std::vector<std::string>& overrides) {
  std::vector<Check> checks;
  jobs::JobSpec job;
  const bool is_job = what.ends_with(".json") && io::is_file(what);
  if (is_job) {
    job = read_job_file(what, overrides);
    jobs::make_paths_absolute(job, io::working_folder().string());
  } else {
    job.spec.data["path"].sources.emplace_back().path = io::absolute(what);
  }
  std::vector<jobs::SpecFault> faults;
  const planner::ListedJob listed = planner::list_job(job, faults);
  for (const auto& fault : faults)
    checks.push_back({State::kMissing, is_job ? printable(fault.pointer, 200) : what, fault.detail,
                      is_job ? fault.hint : ""});
  check_listed(listed, checks);
  return checks;
}

}  // namespace trireme::coordinator::cli
