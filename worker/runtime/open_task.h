// A task as its stage sees it: the settings in their struct, the files that other tasks left by what they
// are, the shard with the samples to look at, and where the output goes. What a kind of task is called, reads
// and leaves stands in jobs/kinds; no stage spells it again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jobs/kinds/stage_kinds.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/runtime/stage.h"

namespace trireme::worker::runtime {

// The shards and files of a task in the order of the manifest, from its message or its inputs file.
class TaskInputs {
 public:
  explicit TaskInputs(const jobs::Task& task);

  const std::vector<jobs::ShardRef>& shards() const { return shards_; }
  std::vector<jobs::InputFile> all(jobs::Role role) const;
  std::vector<jobs::InputFile> all(jobs::Role role, const jobs::ShardRef& shard) const;  // of one shard
  std::vector<std::string> paths(jobs::Role role) const;
  std::vector<std::string> paths(jobs::Role role, const jobs::ShardRef& shard) const;
  const jobs::InputFile* find(jobs::Role role) const;  // the first; null when there is none
  // The only one; throws kInternal naming task and role when there is none or more.
  const jobs::InputFile& only(jobs::Role role) const;

 private:
  std::string stage_;
  std::vector<jobs::ShardRef> shards_;
  std::vector<jobs::InputFile> files_;
};

// What every kind of task has. The message must outlive this object.
class OpenedTask {
 public:
  OpenedTask(jobs::TaskKind kind, const jobs::Task& from);

  const jobs::TaskRow& row;
  const jobs::Task& message;
  const TaskInputs inputs;

  const jobs::ShardRef& shard() const;  // of a map; throws kInternal when the task names none
  data::ShardReader open_shard() const;
  // The range that is there: [first, end) of the shard's samples.
  std::int64_t first() const { return message.first; }
  std::int64_t end(const data::ShardReader& shard) const;
  std::int64_t size(const data::ShardReader& shard) const { return end(shard) - first(); }
  // Of the range, what no filter before has dropped. Throws as read_verdicts().
  std::vector<std::int64_t> kept(const data::ShardReader& shard) const;

  std::int64_t part() const { return message.part; }  // of a merge: this one of parts()
  std::int64_t parts() const { return message.parts; }
  const std::string& stage() const { return message.stage; }
  std::string output() const;  // path of the main output
  std::string beside() const;  // of the second one
  jobs::DataSpec data() const { return jobs::data_from_json(message.data); }
};

template <class Settings>
class OpenTask : public OpenedTask {
 public:
  OpenTask(jobs::TaskKind kind, const jobs::Task& from)
      : OpenedTask(kind, from), settings(jobs::settings_from_json<Settings>(from.settings)) {}
  const Settings settings;
};

// Fills in the outputs of a task that is done, unless its stage has: what its kind leaves.
void describe_outputs(const OpenedTask& task, jobs::TaskDone& done);

// A kind of task with settings of that type.
template <jobs::TaskKind kind, class Settings>
class StageOf : public Stage {
 public:
  static constexpr jobs::TaskKind kKind = kind;
  using Task = OpenTask<Settings>;

  jobs::TaskDone run(const jobs::Task& task, TaskContext& context) final {
    const Task opened(kKind, task);
    jobs::TaskDone done = work(opened, context);
    describe_outputs(opened, done);
    return done;
  }

 protected:
  // As Stage::run(). What its kind leaves lies complete at output() and beside() afterwards.
  virtual jobs::TaskDone work(const Task& task, TaskContext& context) = 0;
};

}  // namespace trireme::worker::runtime
