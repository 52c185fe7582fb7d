// Which task next for which worker: a pure, deterministic function of what is ready, who is idle and what was
// asked before. Later stages go first, so that shards flow through the graph before new ones are opened; in a
// stage, merges before maps, then manifest order. A gang that is ready reserves its workers: the lowest
// ranks, as many as the largest divisor of its slots that fits; it starts when they are all idle, and ranks
// left over go on with other tasks. One gang at a time. Single-threaded.
#pragma once

#include <compare>
#include <cstdint>
#include <queue>
#include <set>
#include <vector>

#include "common/base/ids.h"

namespace trireme::coordinator::scheduler {

// planner::TaskRef by its parts, so that the two rooms stay apart.
struct ReadyTask {
  std::int64_t stage = 0, phase = 0, data = 0, shard = 0, first = 0;
  std::int64_t slots = 0;  // > 0: a gang with so many logical slots
  bool operator==(const ReadyTask&) const = default;
};
bool goes_before(const ReadyTask& a, const ReadyTask& b);

struct Grant {
  ReadyTask task;
  std::vector<Rank> workers;  // one, or the members of a gang in rank order
};

// Largest divisor of `slots` that is at most `workers`; 0 without workers.
std::int64_t gang_size(std::int64_t slots, std::int64_t workers);

class Scheduler {
 public:
  void add(const ReadyTask& task);

  // Gives away at most `most` tasks and removes their workers from `idle`. `workers`: everyone alive,
  // ascending. Gangs start only when `everyone_here`: their size must not depend on who reported first.
  std::vector<Grant> grant(const std::vector<Rank>& workers, std::set<Rank>& idle, bool everyone_here,
                           std::size_t most = SIZE_MAX);
  void gang_ended() { gang_runs_ = false; }  // its lease is done, failed or lost

  std::size_t waiting() const { return maps_.size() + gangs_.size(); }

 private:
  struct Later {
    bool operator()(const ReadyTask& a, const ReadyTask& b) const { return goes_before(b, a); }
  };
  struct Earlier {
    bool operator()(const ReadyTask& a, const ReadyTask& b) const { return goes_before(a, b); }
  };
  std::vector<Grant> grant_gang(const std::vector<Rank>& workers, std::set<Rank>& idle,
                                std::size_t& reserved);

  std::priority_queue<ReadyTask, std::vector<ReadyTask>, Later> maps_;
  std::set<ReadyTask, Earlier> gangs_;
  bool gang_runs_ = false;
};

}  // namespace trireme::coordinator::scheduler
