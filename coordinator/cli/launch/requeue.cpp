#include "coordinator/cli/launch/requeue.h"

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string>

#include <unistd.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "coordinator/cli/launch/process.h"

namespace trireme::coordinator::cli {
namespace {

// Whether Slurm would rather have the job end: after scancel, and for a lost node, it is COMPLETING with no
// reason when we hear of it. A time limit without --signal ends it, too, but it has not done its work.
bool slurm_ends_it(const std::string& job) {
  const std::string told = capture({"scontrol", "show", "job", job, "--oneliner"}).output;
  return told.find(" JobState=COMPLETING ") != std::string::npos &&
         told.find(" Reason=TimeLimit ") == std::string::npos;
}

}  // namespace

int requeue_if_asked(bool asked, int code) {
  const char* job = std::getenv("SLURM_JOB_ID");
  if (!asked || code != exit_code(ErrorKind::kTryAgain)) return code;
  if (job == nullptr) throw Error(ErrorKind::kUsage, "--requeue has a meaning in a batch job of Slurm alone");
  if (slurm_ends_it(job)) {
    std::cout << "Slurm ends job " << job << " (scancel, or a lost node): it is left to it.\n" << std::flush;
    return code;
  }
  const Captured answer = capture({"scontrol", "requeue", job});
  std::cout << (answer.exit_code == 0 ? "Slurm will start job " + std::string(job) + " again.\n"
                                      : "Slurm did not requeue: " + printable(answer.output, 300) + "\n")
            << std::flush;
  if (answer.exit_code == 0) {
    // Slurm ends the batch script of a job that it requeues; it must not end by itself.
    std::signal(SIGTERM, SIG_DFL);
    ::sleep(60);
  }
  return code;
}

}  // namespace trireme::coordinator::cli
