// trireme-worker, wired together. Without arguments: a rank of mpirun that serves the coordinator until it
// says Leave. `tool <name> …`: one process without MPI, for what the `trireme` command cannot do without
// tensors.
#pragma once

namespace trireme::worker {

// The program; returns its exit code (common/base/error.h).
int run(int argc, char** argv);

}  // namespace trireme::worker
