// The coordinator at size, without MPI: simulated workers, the real task graph, scheduler, leases and ledger
// on disk. Every round decides on what has arrived (at most `batch` results, as a loop behind the mailbox
// would), commits one transaction and hands out the next leases. Prints leases per second, the time from the
// start of a decision to its messages (median, p99, worst), and the peak memory.
//   coordinator_sim_bench [workers] [shards] [folder] [results per decision]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>

#include <sys/resource.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "coordinator/ledger/ledger.h"
#include "coordinator/service/job_run.h"
#include "tests/coordinator/planner/fake_results.h"

namespace {
using namespace trireme;
using namespace trireme::coordinator;

const char* const kJob = R"({"name": "simulated", "spec": {"output": "/nowhere",
  "data": {"train": {"path": "/data/train"}},
  "stages": [{"name": "filter", "kind": "filter", "data": ["train"]}]}})";

double ms(std::chrono::steady_clock::duration duration) {
  return 1e3 * std::chrono::duration<double>(duration).count();
}

void apply(ledger::Ledger& ledger, service::Decision& decision) {
  if (!decision.writes.empty()) ledger.commit(decision.writes);
}

struct Simulation {
  ledger::Ledger& ledger;
  service::JobRun& run;
  std::int64_t leases = 0, most = 0;
  std::vector<double> decisions_ms = {};
  std::deque<std::pair<Rank, jobs::TaskDone>> in_flight = {};

  // What workers got; they answer in the order in which they were asked.
  void deliver(const service::Decision& decision) {
    for (const auto& out : decision.messages)
      if (const auto* assign = std::get_if<jobs::Assign>(&out.message)) {
        ++leases;
        jobs::TaskDone done = planner::fake_result(assign->task, 256);
        done.lease = assign->task.lease;
        in_flight.emplace_back(out.to, std::move(done));
      }
  }

  void decide(const RealClock& clock, std::size_t batch) {
    std::vector<std::pair<Rank, jobs::TaskDone>> arrived;
    while (arrived.size() < batch && !in_flight.empty()) {
      arrived.push_back(std::move(in_flight.front()));
      in_flight.pop_front();
    }
    const auto begin = std::chrono::steady_clock::now();
    service::Decision decision;
    for (const auto& [rank, done] : arrived) run.task_done(rank, done, clock.now(), decision);
    run.grant(clock.now(), decision);
    apply(ledger, decision);
    decisions_ms.push_back(ms(std::chrono::steady_clock::now() - begin));
    deliver(decision);
  }
};

void report(Simulation& simulation, double wall_seconds) {
  auto& times = simulation.decisions_ms;
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    return times[static_cast<std::size_t>(share * double(times.size() - 1))];
  };
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf("leases %lld in %.1f s: %.0f leases/s\n", static_cast<long long>(simulation.leases),
              wall_seconds, double(simulation.leases) / wall_seconds);
  std::printf("decisions %zu: median %.3f ms, p99 %.3f ms, worst %.1f ms\n", times.size(), at(0.5), at(0.99),
              times.back());
  std::printf("peak memory %.0f MiB, ledger %.0f MiB\n", double(usage.ru_maxrss) / 1024,
              double(simulation.ledger.file_bytes("db") + simulation.ledger.file_bytes("wal")) / 1048576);
}

}  // namespace

int main(int argc, char** argv) {
  const int workers = argc > 1 ? std::atoi(argv[1]) : 10000;
  const std::int64_t shards = argc > 2 ? std::atoll(argv[2]) : 1000000;
  const io::Path folder = argc > 3 ? argv[3] : "coordinator-sim";
  const std::size_t batch = argc > 4 ? std::strtoull(argv[4], nullptr, 10) : 16;
  start_log("bench", LogLevel::kWarning);
  std::filesystem::remove_all(folder);
  const RealClock clock;
  double replay = 0;
  {
    ledger::Ledger ledger({.folder = folder / "ledger", .incarnation = Incarnation{1}}, clock);
    jobs::JobSpec job = jobs::read_job(kJob).job;
    job.spec.store = "/nowhere/store";
    planner::ListedJob listed;
    listed.shards["train"] = planner::fake_shards("train", shards);
    auto graph = std::make_unique<planner::TaskGraph>(job, std::move(listed), "job-000001");
    const auto limits = fleet::limits_of(job.spec.timeouts);
    fleet::Fleet fleet(workers, limits, clock.now());
    std::set<Rank> idle;
    for (Rank rank = 1; rank <= workers; ++rank) {
      fleet.hello(rank, {}, clock.now());
      idle.insert(rank);
    }
    service::JobRun run("job-000001", job, std::move(graph), LeaseId{0}, limits,
                        {&fleet, &idle, nullptr, &clock, Incarnation{1}});
    service::Decision first;
    run.start(first);
    Simulation simulation{ledger, run};
    const auto begin = std::chrono::steady_clock::now();
    do simulation.decide(clock, batch);
    while (!run.finished() && !run.failure());
    if (run.failure()) std::printf("FAILED: %s\n", run.failure()->message.c_str());
    report(simulation, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  {
    ledger::Ledger again({.folder = folder / "ledger", .incarnation = Incarnation{2}}, clock);
    replay = again.start_seconds();
    std::printf("start check of %llu events: %.1f s\n",
                static_cast<unsigned long long>(again.last_sequence()), replay);
  }
  std::filesystem::remove_all(folder);
  return 0;
}
