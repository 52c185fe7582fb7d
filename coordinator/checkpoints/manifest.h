// manifest.json of a training checkpoint (RELIABILITY 8.7): what it is, of which run, job and settings, and
// the size and hash of every file. Files only; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "coordinator/ledger/rows.h"
#include "jobs/protocol/messages.h"

namespace trireme::coordinator::checkpoints {

struct ManifestFile {
  std::string name;
  std::uint64_t bytes = 0, xxh3 = 0;
};

struct Manifest {
  io::Path folder;
  std::string run_id, job, stage, address;
  std::int64_t step = 0, epoch = 0;
  bool best = false;
  double metric = 0;
  std::uint64_t ledger_sequence = 0, incarnation = 0;
  std::string spec;         // the job's effective JSON, "" where it was not kept
  std::uint64_t xxh3 = 0;   // of the file
  std::uint64_t bytes = 0;  // of all files and the manifest
  std::vector<ManifestFile> files;
};

// Nothing where there is no manifest.json, or another program's.
std::optional<Manifest> read_manifest(const io::Path& folder);

// "" when every file is what the manifest says, else what is wrong (naming the file). Reads all of them.
std::string fault_of(const Manifest& manifest);
// The same, and the manifest is the one that was committed.
std::string checkpoint_fault(const ledger::CheckpointRow& row);

ledger::CheckpointRow row_of(const Manifest& manifest, ledger::CheckpointState state);

struct SealOrder {
  std::string run_id, job, stage, address, spec;
  std::uint64_t ledger_sequence = 0, incarnation = 0;
  jobs::CheckpointWritten written;
};

// Re-reads what gang rank 0 wrote (waiting for files that another host's rename shows late), writes
// manifest.json, syncs and renames it to <parent of the written folder>/step-00001234, ready to be committed;
// where that name is taken (other settings, another ledger) to step-00001234-<address>. Throws kDamaged when
// a file is not what the gang reported, kDiskFull …; the written folder is removed then.
ledger::CheckpointRow seal_checkpoint(const SealOrder& order, const io::FileSystem& files = io::disk());

}  // namespace trireme::coordinator::checkpoints
