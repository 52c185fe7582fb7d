#include "common/mailbox/mpi/launcher.h"

#include <cstdlib>

#include "common/base/error.h"

namespace trireme {
namespace {

int number(const std::string& text) {
  return text.empty() ? 0 : std::atoi(text.c_str());
}

}  // namespace

std::string lonely_start(const std::function<std::string(const std::string&)>& get) {
  // Open MPI's mpirun and `srun --mpi=pmix` both serve PMIx, which is how Debian's Open MPI finds the others.
  if (!get("PMIX_NAMESPACE").empty()) return "";
  struct Launcher {
    const char *size, *rank, *name;
  };
  for (const auto& [size, rank, name] :
       {Launcher{"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun"},
        Launcher{"PMI_SIZE", "PMI_RANK", "a PMI launcher"},
        Launcher{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "another mpirun"},
        Launcher{"SLURM_NTASKS", "SLURM_PROCID", "Slurm"}}) {
    if (number(get(size)) < 2) continue;
    return std::string(name) + " started this process as rank " + get(rank) + " of " + get(size) + " (" +
           size + "), but MPI would start it alone";
  }
  return "";
}

void refuse_lonely_start() {
  const std::string fault = lonely_start([](const std::string& name) {
    const char* value = std::getenv(name.c_str());
    return std::string(value == nullptr ? "" : value);
  });
  if (!fault.empty())
    throw Error(ErrorKind::kUsage, fault,
                "inside the allocation: trireme launch job.json, or srun --mpi=pmix with a --multi-prog file "
                "(0 trireme-coordinator --job job.json, 1-W trireme-worker)");
}

}  // namespace trireme
