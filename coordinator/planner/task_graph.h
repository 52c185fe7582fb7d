// The job as a graph of tasks: a pure function of the spec, the listed shards and the results committed so
// far. It grows as results come in: a shard's ranges exist once its inspect is committed, a range of a later
// stage is ready once the same range of its needs and all artifacts it reads are. Rebuilt after a restart by
// completing the ledger's done tasks again. Single-threaded.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/io/hash.h"

#include "jobs/kinds/stage_kinds.h"
#include "jobs/protocol/messages.h"
#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::planner {

// Whether a filter that `stage` needs, directly or through others, judges that data set: it has then decoded
// every picture of it, and the measures of `stage` need not.
bool filtered_before(const std::vector<jobs::StageSpec>& stages, const jobs::StageSpec& stage,
                     const std::string& data);

// Names one task for good: the same after every restart.
struct TaskRef {
  std::uint32_t stage = 0;  // index into stages()
  std::uint32_t phase = 0;  // 0: map or gang; 1: merge, or a filter's measures; 2: a filter's cuts
  std::uint32_t data = 0;   // index of the data set within the stage
  std::int64_t shard = 0;
  std::int64_t first = 0;
  auto operator<=>(const TaskRef&) const = default;
};
std::string key_of(const TaskRef& ref);  // "3.0.0.17.256"
TaskRef task_ref_from_key(const std::string& key);

// Stages in topological order, implicit ones ("synthesize:train/0", "inspect:train") first.
struct StageInfo {
  std::string name, kind;
  std::vector<std::string> needs;
  bool implicit = false;
  const jobs::StageRow* row = nullptr;
};

struct StageProgress {
  std::int64_t tasks_known = 0, tasks_done = 0, tasks_reused = 0;
  bool tasks_final = false;                    // no more tasks will appear
  bool committed = false;                      // everything done
  std::map<std::string, std::int64_t> counts;  // sums of TaskDone::counts
};

// A data set as far as it is known.
struct DataInfo {
  std::string name;
  std::int64_t shards = 0, inspected = 0, bytes = 0;
  std::int64_t usable = 0, bad = 0, selected = 0;  // samples of the inspected shards
  double per_epoch = 0;                            // selected samples, by the weight of their source
  bool all_known = false;
  // The shards with most bad samples: path, and what is wrong in it.
  std::vector<std::pair<std::string, std::string>> damaged;
  std::vector<std::string> decided;  // how each path source is read
  std::string seen;  // where its members and rows went, as far as inspected; "" when all were data
};

// Files looked up once, before the graph is built (listing.h). What is missing counts as 0 or as its name.
struct ListedJob {
  std::map<std::string, std::vector<jobs::ShardRef>>
      shards;  // per data set, manifest order, path sources only; taken apart by the graph
  std::map<std::string, std::vector<std::uint64_t>>
      identities;  // beside shards: hash of real path, size and time of change; the address of inspect
  std::map<std::string, std::uint64_t> labels;  // per data set: hash of classnames and templates files
  std::map<std::string, jobs::DataSpec>
      data;  // with what was found out about its sources; takes the job's place
  std::map<std::string, std::vector<std::string>> decided;  // per data set: a line per path source
  std::map<std::string, std::int64_t> classes;              // per data set: how many have names
  std::vector<std::string> notes;                           // for people: to print
  // By path of the shard, keys of samples that no task gets any more; "": none of the shard.
  std::map<std::string, std::vector<std::string>> quarantined;
  std::map<std::string, std::uint64_t>
      weights;  // "weights PATH", "vocabulary PATH" -> xxh3, PATH as in the job
};

// A shard as it lay there when it was listed.
struct ListedFile {
  std::string path;
  jobs::DataFormat format = jobs::DataFormat::kUnset;
  std::string parquet;  // SourceSpec::parquet
  std::uint64_t identity = 0;
};

class TaskGraph {
 public:
  // Output and store folders absolute. Throws kInvalid (a data set without shards …).
  TaskGraph(const jobs::JobSpec& job, ListedJob listed, const std::string& job_id);
  ~TaskGraph();

  std::vector<TaskRef> start();  // ready at once; complete() may come before, as it does after a restart
  // Records a committed result; what became ready because of it. Of two tasks with one address the second is
  // ready when the first is done, so that it is answered from the store. Throws kInvalid when the data forbid
  // going on (an empty shard, too many bad samples, nothing kept): the job fails with that message. After a
  // restart: in the order of the commits, and only results whose address is still address_of() (an input file
  // may have changed); a second call for a done task does nothing.
  std::vector<TaskRef> complete(const TaskRef& ref, const jobs::TaskDone& done);

  jobs::TaskKind kind(const TaskRef& ref) const;
  std::int64_t gang_slots(const TaskRef& ref) const;  // logical slots; the gang size must divide it
  // Everything but lease, members and resume_from. Merges and gangs: writes the inputs file (io) and names
  // it.
  jobs::Task make_task(const TaskRef& ref) const;
  // Of a ready or done task; "" of any other.
  std::string address_of(const TaskRef& ref) const;
  jobs::Task describe_task(const TaskRef& ref) const;  // make_task without writing the inputs file

  const std::vector<StageInfo>& stages() const;
  StageProgress progress(std::size_t stage) const;
  std::vector<DataInfo> data() const;     // data sets that the stages use
  std::vector<ListedFile> files() const;  // of path sources
  // For people: how each source is read, and what else listing found.
  std::vector<std::string> remarks() const, warnings() const;
  bool finished() const;

 private:
  std::unique_ptr<struct GraphState> state_;
};

}  // namespace trireme::coordinator::planner
