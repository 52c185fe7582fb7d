// Training checkpoints on disk (RELIABILITY 8.7). Sealing re-reads what gang rank 0 wrote, writes
// manifest.json, syncs, renames; the ledger's transaction afterwards is the commit. Files only; any thread.
#pragma once

#include <string>
#include <vector>

#include "common/io/file.h"
#include "coordinator/ledger/rows.h"
#include "jobs/protocol/messages.h"

namespace trireme::coordinator::service {

struct SealOrder {
  std::string run_id, job, stage, address;
  std::uint64_t spec_hash = 0, ledger_sequence = 0, incarnation = 0;
  jobs::CheckpointWritten written;
};

// <parent of the written folder>/step-00001234, ready to be committed. Throws kDamaged when a file is not
// what the gang reported, kDiskFull …; the temporary folder is removed then.
ledger::CheckpointRow seal_checkpoint(const SealOrder& order);

// "" when manifest and files are what was committed, else what is wrong (naming the file).
std::string checkpoint_fault(const ledger::CheckpointRow& row);

// Committed checkpoints of the gang task with this address in this folder, newest step first.
std::vector<ledger::CheckpointRow> resumable(const std::vector<ledger::CheckpointRow>& rows,
                                             const std::string& checkpoint_folder,
                                             const std::string& address);

// Those of the same folder and address that may go: all but the newest `keep_last` and the newest best one.
std::vector<ledger::CheckpointRow> superseded(const std::vector<ledger::CheckpointRow>& rows,
                                              const ledger::CheckpointRow& newest, std::int64_t keep_last);

// Folders under `checkpoint_folder` that no committed row names: leftovers of a crash.
std::vector<io::Path> unreferenced(const io::Path& checkpoint_folder,
                                   const std::vector<ledger::CheckpointRow>& rows);

// Highest ledger sequence that a manifest under <output>/ckpt carries, with its path; 0 when there is none.
struct ManifestSequence {
  std::uint64_t sequence = 0;
  std::string path;
};
ManifestSequence newest_manifest(const io::Path& output, const std::string& run_id);

}  // namespace trireme::coordinator::service
