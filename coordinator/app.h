// trireme-coordinator, wired together: rank 0 of mpirun. `--job FILE` runs that job and leaves with its
// outcome; without it the coordinator stays up and takes jobs over HTTP.
#pragma once

namespace trireme::coordinator {

// The program; returns its exit code (common/base/error.h), or leaves by _exit when ranks may be dead.
int run(int argc, char** argv);

}  // namespace trireme::coordinator
