// `trireme ledger check|restore RUN`: what a person does about a damaged or lost ledger (docs/recovery.md).
#pragma once

#include <ostream>

#include "common/io/file.h"

namespace trireme::coordinator::cli {

// Says whether the ledger of the run folder verifies, which backups do, and which checkpoints it does not
// know. Changes nothing. 0 when all is well, 65 when not. Throws kConflict while the run is going on.
int check_ledger_of(const io::Path& run_folder, bool json, std::ostream& out);

// Installs what verifies and has come furthest, or with `afresh` an empty ledger that knows the checkpoints
// as somebody else's. What was there moves to ledger/damaged-<n>/. Throws kDamaged when nothing verifies.
int restore_ledger(const io::Path& run_folder, bool afresh, std::ostream& out);

// `launch --resume-from`: an empty ledger whose run goes on from this checkpoint of <output>/ckpt/<stage>/,
// which is verified first. `given`: as typed, from here or from `output`. Throws kNotFound, kInvalid,
// kDamaged.
void start_from_checkpoint(const io::Path& run_folder, const io::Path& output, const io::Path& given,
                           std::ostream& out);

}  // namespace trireme::coordinator::cli
