// What Open MPI 4.1 leaves on a host when it is killed: session folders and shared memory.
#pragma once

#include "common/io/file_system.h"

namespace trireme::coordinator::cli {

// Of this user and this host: removes the folder of every mpirun or orted that has gone (`temporary` is
// $TMPDIR or /tmp), and every segment in `shared` that no process has in its memory. Not what is younger than
// a minute. Returns how many were removed. `processes`: what runs.
int sweep_mpi_leftovers(const io::Path& temporary, const io::Path& shared = "/dev/shm",
                        const io::Path& processes = "/proc");

}  // namespace trireme::coordinator::cli
