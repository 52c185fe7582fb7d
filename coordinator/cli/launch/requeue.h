// A batch job of Slurm that stopped with a checkpoint goes back into the queue.
#pragma once

namespace trireme::coordinator::cli {

// Where `asked` and `code` is that of a stop with a checkpoint: has Slurm start the job again, unless Slurm
// ends it by scancel or for a lost node. The code to leave with. Throws kUsage outside a job of Slurm.
int requeue_if_asked(bool asked, int code);

}  // namespace trireme::coordinator::cli
