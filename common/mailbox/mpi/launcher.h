// What the environment says of the launcher that started this process, looked at before MPI_Init: a process
// that is meant to be one of several, but whose MPI would start alone, would wait for ever or do all the work
// of the others again.
#pragma once

#include <functional>
#include <string>

namespace trireme {

// "" when this process and its MPI agree; else what is wrong. `get` returns a variable of the environment or
// "". Known: Slurm's srun, PMI launchers (MPICH's mpiexec, srun --mpi=pmi2), Open MPI's mpirun.
std::string lonely_start(const std::function<std::string(const std::string&)>& get);

// Throws kUsage with lonely_start()'s words and the right command line. Call it before MPI_Init.
void refuse_lonely_start();

}  // namespace trireme
