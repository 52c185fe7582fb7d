// Who is there and who is alive, decided from arrival times by the coordinator's own clock; MPI only carries
// the bytes (RELIABILITY 8.1 "Liveness"). Pure state: time comes in with every call. Single-threaded.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/ids.h"
#include "coordinator/fleet/limits.h"
#include "jobs/protocol/messages.h"

namespace trireme::coordinator::fleet {

// Retired: its process lives, but takes no task any more.
enum class Liveness { kAwaited, kAlive, kSuspect, kDead, kRetired };
std::string_view name_of(Liveness state);  // "awaited", "alive", "suspect", "dead", "retired"

struct Member {
  Rank rank = 0;
  Liveness state = Liveness::kAwaited;
  jobs::Hello hello;
  jobs::Heartbeat last;  // newest
  SteadyTime heard{};
};

struct Verdict {
  Rank rank = 0;
  Liveness state = Liveness::kAlive;  // the new state
  std::string reason;
};

class Fleet {
 public:
  // Ranks 1 … workers are awaited from `start` on.
  Fleet(int workers, const Limits& limits, SteadyTime start);

  void hello(Rank rank, const jobs::Hello& hello, SteadyTime arrival);
  void heartbeat(Rank rank, const jobs::Heartbeat& heartbeat, SteadyTime arrival);
  void heard(Rank rank, SteadyTime arrival);  // any other mail

  void retire(Rank rank);  // final: its silence means nothing any more
  bool takes_tasks(Rank rank) const;

  // Members whose state changed. A pause of this process (no review for longer than the suspect limit) is
  // not counted as their silence. Dead is final.
  std::vector<Verdict> review(SteadyTime now);

  void change_limits(const Limits& limits) { limits_ = limits; }
  const std::vector<Member>& members() const { return members_; }
  const Member& member(Rank rank) const { return members_[static_cast<std::size_t>(rank - 1)]; }
  bool known(Rank rank) const { return rank >= 1 && rank <= static_cast<Rank>(members_.size()); }
  bool everyone_here() const { return awaited_ == 0; }
  int size() const { return static_cast<int>(members_.size()); }

  // Speed of workers on the same kind of task: a moving average of samples per second over the fastest's.
  void note_rate(Rank rank, const std::string& kind, double samples_per_second);
  double speed_ratio(Rank rank) const;  // 1 until something is known

 private:
  Member& at(Rank rank) { return members_[static_cast<std::size_t>(rank - 1)]; }
  Limits limits_;
  SteadyTime reviewed_;
  std::vector<Member> members_;
  int awaited_ = 0;
  std::map<std::string, std::map<Rank, double>> rates_;
  std::map<Rank, std::string> latest_kind_;
};

}  // namespace trireme::coordinator::fleet
