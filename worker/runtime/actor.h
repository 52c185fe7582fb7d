// The worker as an actor: one task at a time, on the thread that calls run(). A task whose receipt is in the
// store is answered from it; an error becomes TaskFailed, never the end of the process.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "common/io/machine/in_hand.h"
#include "worker/runtime/control.h"
#include "worker/runtime/stage.h"

namespace trireme::worker::runtime {

using Stages = std::map<jobs::TaskKind, std::unique_ptr<Stage>>;

struct ActorOptions {
  const Clock* clock = nullptr;
  telemetry::Metrics* metrics = nullptr;  // may be null
  io::InHand* in_hand = nullptr;          // told of every task; may be null
  int threads = 1;
  std::string device = "cpu", why_device;  // of this worker (device.h); a task may want the CPU
  // The gang of task.members, each on its device; `stopped` is polled while it waits for a peer.
  std::function<std::unique_ptr<collective::Group>(const jobs::Task& task, const std::string& device,
                                                   std::function<bool()> stopped)>
      make_group;
};

// Runs one task to its answer: TaskDone (with lease and seconds) or TaskFailed. Throws nothing.
jobs::Message run_task(const jobs::Task& task, const Stages& stages, TaskContext& context);

// Tasks until Leave. When the GPU is lost under a task, nothing more can be computed in this process: that
// task is given back (device_lost.h), and so would be others. Returns why, "" where that was not so; the
// process must then end without a word to the GPU (_exit).
std::string run_actor(Control& control, const Stages& stages, const ActorOptions& options);

}  // namespace trireme::worker::runtime
