// What jobs leave for people: a stage's outputs once its last task is committed, and the report. The state
// thread gathers what the ledger names, the helper thread writes it.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/planner/task_graph.h"
#include "coordinator/service/background.h"
#include "coordinator/service/books/job_book.h"
#include "coordinator/service/describe.h"
#include "coordinator/service/event_queue.h"

namespace trireme::coordinator::service {

class Publisher {
 public:
  Publisher(ledger::Ledger& ledger, Background& aside, EventQueue& events)
      : ledger_(ledger), aside_(aside), events_(events) {}

  // The running job is not done before these are written.
  void expect(const std::string& job_id, std::size_t stage) { expected_.insert({job_id, stage}); }
  bool writing() const { return !expected_.empty(); }
  void forget() { expected_.clear(); }
  // After the commit of its last task. `then`: on the state thread, with what went wrong ("": nothing).
  using Written = std::function<void(const std::string& fault, Decision&)>;
  void write_stage(const Job& job, std::size_t stage, const planner::TaskGraph& graph, Written then);
  bool disk_was_full() const { return disk_was_full_; }  // what the last `fault` was

  // The graph knows the sources, the damaged shards and which results are of its inputs, and is gone when the
  // last report is written.
  void remember_data(const std::string& job_id, const planner::TaskGraph& graph);
  // <output>/report.html. `then`: on the helper thread, with what went wrong.
  void write_report(const Job& job, const std::vector<StageView>& stages,
                    std::function<void(const std::string& fault)> then);

 private:
  std::set<LeaseId> newest_of_each_task(const std::string& job_id);

  ledger::Ledger& ledger_;
  Background& aside_;
  EventQueue& events_;
  std::set<std::pair<std::string, std::size_t>> expected_;
  bool disk_was_full_ = false;
  std::map<std::string, std::set<LeaseId>> outdated_;  // done, of inputs that have changed since
  // Data set, shard and what is wrong in it, of the jobs that ran in this incarnation.
  std::map<std::string, std::vector<std::array<std::string, 3>>> damaged_;
  std::map<std::string, std::vector<std::array<std::string, 2>>>
      sources_;  // data set, what was decided of it
};

}  // namespace trireme::coordinator::service
