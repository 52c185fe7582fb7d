#include "coordinator/fleet/fleet.h"

#include <algorithm>
#include <cstdio>

namespace trireme::coordinator::fleet {
namespace {

std::string silence(std::chrono::nanoseconds duration) {
  char text[64];
  std::snprintf(text, sizeof text, "silent for %.2f s", seconds(duration));
  return text;
}

}  // namespace

std::string_view name_of(Liveness state) {
  switch (state) {
    case Liveness::kAwaited:
      return "awaited";
    case Liveness::kAlive:
      return "alive";
    case Liveness::kSuspect:
      return "suspect";
    case Liveness::kDead:
      return "dead";
    case Liveness::kRetired:
      return "retired";
  }
  return "dead";
}

Fleet::Fleet(int workers, const Limits& limits, SteadyTime start)
    : limits_(limits), reviewed_(start), members_(static_cast<std::size_t>(workers)), awaited_(workers) {
  for (int i = 0; i < workers; ++i) {
    members_[static_cast<std::size_t>(i)].rank = i + 1;
    members_[static_cast<std::size_t>(i)].heard = start;
  }
}

void Fleet::hello(Rank rank, const jobs::Hello& hello, SteadyTime arrival) {
  Member& member = at(rank);
  member.hello = hello;
  if (member.state == Liveness::kAwaited) {
    member.state = Liveness::kAlive;
    --awaited_;
  }
  heard(rank, arrival);
}

void Fleet::heartbeat(Rank rank, const jobs::Heartbeat& heartbeat, SteadyTime arrival) {
  Member& member = at(rank);
  if (heartbeat.sequence >= member.last.sequence) member.last = heartbeat;
  heard(rank, arrival);
}

void Fleet::heard(Rank rank, SteadyTime arrival) {
  Member& member = at(rank);
  member.heard = std::max(member.heard, arrival);
}

void Fleet::retire(Rank rank) {
  Member& member = at(rank);
  if (member.state == Liveness::kAwaited) --awaited_;
  member.state = Liveness::kRetired;
}

bool Fleet::takes_tasks(Rank rank) const {
  const Liveness state = member(rank).state;
  return state == Liveness::kAlive || state == Liveness::kSuspect;
}

std::vector<Verdict> Fleet::review(SteadyTime now) {
  const auto pause = now - reviewed_;
  reviewed_ = now;
  std::vector<Verdict> verdicts;
  for (Member& member : members_) {
    if (member.state == Liveness::kDead || member.state == Liveness::kRetired) continue;
    if (pause > limits_.suspect) member.heard = std::min(now, member.heard + pause);
    const auto silent = now - member.heard;
    Liveness next = Liveness::kAlive;
    if (member.state == Liveness::kAwaited)
      next = silent > limits_.first_heartbeat ? Liveness::kDead : Liveness::kAwaited;
    else if (silent > limits_.dead)
      next = Liveness::kDead;
    else if (silent > limits_.suspect)
      next = Liveness::kSuspect;
    if (next == member.state) continue;
    const bool never = member.state == Liveness::kAwaited;
    member.state = next;
    verdicts.push_back(
        {member.rank, next,
         next == Liveness::kAlive ? "heard again" : (never ? "never reported; " : "") + silence(silent)});
  }
  return verdicts;
}

void Fleet::note_rate(Rank rank, const std::string& kind, double samples_per_second) {
  latest_kind_[rank] = kind;
  auto [entry, fresh] = rates_[kind].emplace(rank, samples_per_second);
  if (!fresh) entry->second += 0.2 * (samples_per_second - entry->second);
}

double Fleet::speed_ratio(Rank rank) const {
  const auto kind = latest_kind_.find(rank);
  if (kind == latest_kind_.end()) return 1;
  const auto& rates = rates_.at(kind->second);
  double fastest = 0;
  for (const auto& [other, rate] : rates) fastest = std::max(fastest, rate);
  return fastest > 0 ? rates.at(rank) / fastest : 1;
}

}  // namespace trireme::coordinator::fleet
