// `trireme audit RUN`: whether a run did what it promises, from what it left: ledger, outputs, checkpoints,
// and the training's log.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "common/io/file.h"

namespace trireme::coordinator::cli {

struct AuditFinding {
  std::string job, what;
};

struct Audit {
  std::uint64_t tasks = 0, outputs = 0, steps = 0, samples = 0, checkpoints = 0, jobs = 0;
  std::vector<AuditFinding> findings;  // what does not hold
};

// Of a run that has stopped: the ledger verifies (a copy of it is read); every task is done once; each output
// that it names is there with the bytes and hash it names; every committed checkpoint verifies; a training's
// log has each step once, in order, and every epoch of it the same number of live samples, in an order of its
// own; a finished job holds no task that is still given away, and nothing half written lies in its store.
// With `like`, another output folder: the logs' order hashes and losses, and the published model, are the
// same. Throws kDamaged for a ledger that does not verify, kConflict while the run is going on.
Audit audit_run(const io::Path& run_folder, const io::Path& like = {});

// Prints it; 0, or 65 when something does not hold.
int audit_command(const io::Path& run_folder, const io::Path& like, bool json, std::ostream& out);

}  // namespace trireme::coordinator::cli
