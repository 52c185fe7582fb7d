// A ledger with something of everything in it, and its content as text, for the ledger's tests.
#pragma once

#include <string>

#include "coordinator/ledger/ledger.h"

namespace trireme::coordinator::ledger {

// Memory where there is some: thousands of synced commits take minutes on a slow disk.
inline io::Path quick_folder() {
  return std::filesystem::exists("/dev/shm") ? io::Path("/dev/shm") : std::filesystem::temp_directory_path();
}

inline LeaseRow sample_lease(int i, LeaseState state) {
  LeaseRow row;
  row.lease = LeaseId{static_cast<std::uint64_t>(i)};
  row.job = "job-1";
  row.stage = i % 3;
  row.task = "1.0.0." + std::to_string(i) + ".0";
  row.address = std::string(32, 'a');
  row.workers = std::to_string(1 + i % 4);
  row.incarnation = 1;
  row.state = state;
  if (state == LeaseState::kDone) row.result = R"({"counts":{"in":)" + std::to_string(i) + "}}";
  return row;
}

inline void grant(Ledger& ledger, int i) {
  ledger.commit({sample_lease(i, LeaseState::kGranted),
                 Event{"LeaseGranted", "job-1", R"({"lease":)" + std::to_string(i) + "}"}});
}

inline void fill(Ledger& ledger, int leases) {
  ledger.commit({JobRow{.job = "job-1", .spec = "{}"}, Event{"JobSubmitted", "job-1", "{}"}});
  ledger.commit(
      {StageRow{"job-1", "filter", 0, "filter", StageState::kOpen, "{}"}, Event{"PlanFixed", "job-1", "{}"}});
  for (int i = 1; i <= leases; ++i) {
    grant(ledger, i);
    if (i % 2 == 0) ledger.commit({sample_lease(i, LeaseState::kDone), Event{"LeaseDone", "job-1", "{}"}});
    if (i % 10 == 0) {
      CheckpointRow row;
      row.folder = "/out/ckpt/train/step-" + std::to_string(i);
      row.job = "job-1";
      row.step = i;
      row.metric = 0.125 * i;
      ledger.commit({row, QuarantineRow{"sample/1/" + std::to_string(i), "job-1", "bad_decode", ""},
                     Event{"CheckpointCommitted", "job-1", "{}"}});
    }
  }
}

// Everything but RunOpened events, which each opening adds.
inline std::string dump(Ledger& ledger) {
  std::string text = ledger.run_id() + "\n";
  for (const auto& row : ledger.jobs())
    text += row.job + " " + std::string(name_of(row.state)) + " " + row.spec + "\n";
  for (const auto& row : ledger.stages("job-1"))
    text += row.stage + " " + std::string(name_of(row.state)) + "\n";
  ledger.for_each_lease("job-1", [&](const LeaseRow& row) {
    text += std::to_string(row.lease.value) + " " + row.task + " " + row.workers + " " +
            std::string(name_of(row.state)) + " " + row.result + " " + row.address + "\n";
  });
  for (const auto& row : ledger.checkpoints())
    text += row.folder + " " + std::to_string(row.step) + " " + std::to_string(row.metric) + " " +
            std::string(name_of(row.state)) + "\n";
  for (const auto& row : ledger.quarantine()) text += row.item + " " + row.reason + "\n";
  for (const auto& row : ledger.events("", 0, 1000000))
    if (row.event.kind != "RunOpened")
      text += row.event.kind + " " + row.event.payload + " " + std::to_string(row.time_ms) + "\n";
  return text;
}

}  // namespace trireme::coordinator::ledger
