// What lies under <output>/ckpt, held against the ledger's rows. Nothing is ever removed but what this ledger
// wrote and retired itself, and what its own earlier incarnations left half written. Files only; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/checkpoints/manifest.h"

namespace trireme::coordinator::checkpoints {

// Every checkpoint of <output>/ckpt/<stage>/, by stage and step.
std::vector<Manifest> all_checkpoints(const io::Path& output);

// The ledger's side of a survey.
struct KnownCheckpoints {
  std::vector<ledger::CheckpointRow> rows;
  std::string run_id;
  std::uint64_t first_incarnation = 0, incarnation = 0;  // that this ledger has seen; the one that asks
};

struct Survey {
  std::vector<ledger::CheckpointRow>
      adopted;                      // sealed by this run, verified, never committed: a crash between
  std::vector<Manifest> unknown;    // of another ledger
  std::vector<std::string> broken;  // of this run, never committed and not whole: left alone
  std::vector<io::Path> leftovers;  // may go
};
Survey survey_checkpoints(const io::Path& output, const KnownCheckpoints& known);

// Names below `output` that only a run leaves there: "final/", "index/" …; and checkpoints.
std::vector<std::string> results_in(const io::Path& output);

// Unknown checkpoints or results are refused with this (kDamaged): what was found, and the ways on.
[[noreturn]] void refuse_unknown(const io::Path& output, const std::string& what_is_wrong,
                                 const std::vector<std::string>& found);

// What shows that a ledger has been at work in this run folder; "" when nothing does. `ledger/` is not looked
// at.
std::string traces_of_a_run(const io::Path& run_folder);

// Committed (and once damaged: they are verified again) checkpoints of the gang task with this address in
// this folder, newest step first.
std::vector<ledger::CheckpointRow> resumable(const std::vector<ledger::CheckpointRow>& rows,
                                             const std::string& checkpoint_folder,
                                             const std::string& address);

// Those of the same folder and address that may go: all but the newest `keep_last` and the newest best one,
// and damaged ones that are older than these.
std::vector<ledger::CheckpointRow> superseded(const std::vector<ledger::CheckpointRow>& rows,
                                              const ledger::CheckpointRow& newest, std::int64_t keep_last);

// Highest ledger sequence that a manifest of this run carries which no row names; 0 when there is none.
struct ManifestSequence {
  std::uint64_t sequence = 0;
  std::string path;
};
ManifestSequence newest_manifest(const io::Path& output, const KnownCheckpoints& known);

}  // namespace trireme::coordinator::checkpoints
