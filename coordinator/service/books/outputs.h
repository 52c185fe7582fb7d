// What a job leaves in its output folder for people and for `trireme search` (jobs/protocol/FORMAT.md): names
// in the output, bytes in the store. Files only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "jobs/protocol/messages.h"

namespace trireme::coordinator::service {

struct CommittedTask {
  std::string key;  // planner::key_of
  jobs::TaskDone done;
  jobs::TaskKind kind = jobs::TaskKind::kInspect;
};

// <output>/stages/<stage>/outputs.jsonl: {"task","reused","outputs","counts","summary"} per task, in the
// order given.
void write_stage_outputs(const io::Path& output, const std::string& stage,
                         const std::vector<CommittedTask>& tasks);

// The folder `from` as `to`: hard links where the file system allows, else copies; written aside and renamed.
void publish_folder(const io::Path& from, const io::Path& to, const io::FileSystem& files = io::disk());
void publish_file(const io::Path& from, const io::Path& to, const io::FileSystem& files = io::disk());

// What people look for by name, as jobs/kinds says where: files in <output>/stages/<stage>/, the folder of
// the last stage of its kind as <output>/<place> (its logs in stages/<stage>/, too), tars as
// <output>/<place>/<stage>/00000.tar … with 00000_stats.json, sizes.json, and subset.npy where samples have
// uids.
void publish_stage(const io::Path& output, const std::string& stage, bool last_of_kind,
                   const std::vector<CommittedTask>& tasks);

}  // namespace trireme::coordinator::service
