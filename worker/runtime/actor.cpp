#include "worker/runtime/actor.h"

#include <new>
#include <system_error>

#include <c10/util/Exception.h>

#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/io/door.h"
#include "common/telemetry/metrics.h"
#include "jobs/protocol/device_lost.h"
#include "jobs/store/published.h"
#include "worker/collective/group.h"
#include "worker/collective/metered_group.h"
#include "worker/runtime/device/device.h"
#include "worker/runtime/device/device_error.h"

namespace trireme::worker::runtime {
namespace {
jobs::TaskFailed failed(const jobs::Task& task, ErrorKind kind, const std::string& message) {
  const bool again = kind == ErrorKind::kTryAgain || kind == ErrorKind::kUnavailable;
  return {task.lease, kind, again, message};
}

jobs::TaskFailed out_of_memory(const jobs::Task& task) {
  return failed(task, ErrorKind::kTryAgain,
                task.stage + ": out of memory (fewer workers per host, or a smaller batch, need less)");
}

// What torch or the group said; `otherwise` where it is nothing of a GPU's.
jobs::TaskFailed failed_on_device(const jobs::Task& task, ErrorKind otherwise, const std::string& text) {
  switch (device_error(text).culprit) {
    case Culprit::kMemory:
      return out_of_memory(task);
    case Culprit::kPeer:
      return failed(task, ErrorKind::kTryAgain, text);
    case Culprit::kProgram:
      return failed(task, ErrorKind::kInternal, text);
    case Culprit::kDevice:
      return failed(task, ErrorKind::kUnavailable, text);
    case Culprit::kNobody:
      break;
  }
  return failed(task, otherwise, text);
}

jobs::TaskFailed failed_in_torch(const jobs::Task& task, const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  for (const char* words : {"can't allocate memory", "out of memory"})
    if (text.find(words) != std::string::npos) return out_of_memory(task);
  return failed_on_device(task, ErrorKind::kInternal, task.stage + ": " + text);
}

// Kinds in which a group, or a plug-in, brings a device's words; in others they are those of a file or a job.
bool may_be_of_device(ErrorKind kind) {
  return kind == ErrorKind::kTryAgain || kind == ErrorKind::kUnavailable || kind == ErrorKind::kInternal;
}

jobs::TaskFailed failed_by(const jobs::Task& task, const Error& error, const std::string& where = "") {
  return may_be_of_device(error.kind()) ? failed_on_device(task, error.kind(), where + error.what())
                                        : failed(task, error.kind(), where + error.what());
}

void count_samples(const jobs::Task& task, const jobs::TaskDone& done, telemetry::Metrics* metrics) {
  if (metrics == nullptr) return;
  const std::string kind(jobs::name_of(task.kind));
  metrics->observe("trireme_task_duration_seconds", done.seconds, {{"kind", kind}});
  if (done.reused) return;
  for (const auto& [outcome, count] : done.counts)
    metrics->count("trireme_samples_total", static_cast<double>(count),
                   {{"stage", kind}, {"outcome", outcome}});
}

jobs::TaskDone answer(const jobs::Task& task, const Stages& stages, TaskContext& context) {
  jobs::TaskDone done;
  if (store::read_receipt(task, done)) return done;
  const auto stage = stages.find(task.kind);
  if (stage == stages.end())
    throw Error(ErrorKind::kInvalid,
                "this worker knows no stage '" + std::string(jobs::name_of(task.kind)) + "'",
                "start coordinator and workers from one build");
  context.stop->throw_if_stopped();
  done = stage->second->run(task, context);
  done.lease = task.lease;
  const bool writes = task.members.empty() || context.group == nullptr || context.group->rank() == 0;
  if (writes && !task.output.empty()) store::write_receipt(task, done);
  fault_point("lease.after_output_before_done");
  return done;
}
}  // namespace

jobs::Message run_task(const jobs::Task& task, const Stages& stages, TaskContext& context) {
  const SteadyTime begin = context.clock->now();
  try {
    jobs::TaskDone done = answer(task, stages, context);
    done.seconds = seconds(context.clock->now() - begin);
    count_samples(task, done, context.metrics);
    return done;
  } catch (const Error& error) {
    return failed_by(task, error);
  } catch (const std::bad_alloc&) {
    return out_of_memory(task);
  } catch (const c10::Error& error) {
    return failed_in_torch(task, error);
  } catch (const std::system_error& error) {
    const Error cause = system_error(task.stage + ": " + error.what(), error.code().value());
    return failed(task, cause.kind(), cause.what());
  } catch (const std::exception& error) {
    return failed(task, ErrorKind::kInternal, task.stage + ": " + error.what());
  } catch (...) {
    return failed(task, ErrorKind::kInternal, task.stage + ": an unknown exception");
  }
}

namespace {
// What was said when this process lost its GPU with this answer; else "".
std::string lost_device(const jobs::Message& answer) {
  const auto* failure = std::get_if<jobs::TaskFailed>(&answer);
  return failure != nullptr && may_be_of_device(failure->kind) && device_error(failure->message).gone
             ? failure->message
             : "";
}

// What a stage sees of the world while it has `task`; its reports go out through `control`.
TaskContext context_of(const jobs::Task& task, Control& control, const ActorOptions& options) {
  TaskContext context;
  context.stop = &control.stop();
  context.clock = options.clock;
  context.metrics = options.metrics;
  context.incarnation = control.incarnation();
  context.threads = options.threads;
  context.progress = [&control](std::int64_t done, std::int64_t total) { control.progress(done, total); };
  context.report_step = [&control, lease = task.lease](const jobs::StepReport& step) {
    jobs::StepReport report = step;
    report.lease = lease;
    control.progress(report.step, report.steps);
    control.report(report, report.evaluation.empty());
  };
  context.checkpoint_written = [&control, lease = task.lease](const jobs::CheckpointWritten& checkpoint) {
    jobs::CheckpointWritten report = checkpoint;
    report.lease = lease;
    control.report(report);
  };
  context.last_committed_checkpoint = [&control] { return control.last_committed_checkpoint(); };
  return context;
}

jobs::Message run_with_group(const jobs::Task& task, const Stages& stages, TaskContext& context,
                             Control& control, const ActorOptions& options) {
  std::unique_ptr<collective::Group> group;
  try {
    context.device = device_for_task(task.device, options.device, options.why_device);
  } catch (const Error& error) {
    return failed(task, error.kind(), task.stage + ": " + error.what());
  }
  if (!task.members.empty()) {
    try {
      group = options.make_group(task, context.device, [&control] { return control.stop().stop_now(); });
      if (options.metrics != nullptr) group = collective::make_metered(std::move(group), *options.metrics);
    } catch (const Error& error) {
      return failed_by(task, error, task.stage + ": no group: ");
    } catch (const c10::Error& error) {
      return failed_in_torch(task, error);
    } catch (const std::exception& error) {
      return failed(task, ErrorKind::kInternal, task.stage + ": no group: " + error.what());
    }
  }
  context.group = group.get();
  jobs::Message answer = run_task(task, stages, context);
  // Its end would wait for the device, and the answer with it.
  const bool on_device = group != nullptr && group->takes_device_tensors();
  if (on_device && !lost_device(answer).empty()) static_cast<void>(group.release());
  return answer;
}

// Where there are rules, every thread of this worker reaches files through the job's door meanwhile. The
// published weights of this host may be named by every job.
jobs::Message run_behind_door(const jobs::Task& task, const Stages& stages, TaskContext& context,
                              Control& control, const ActorOptions& options) {
  const auto rules = control.rules();
  if (!rules) return run_with_group(task, stages, context, control, options);
  std::optional<io::Door> door;
  try {
    io::Roots roots{{rules->read.begin(), rules->read.end()},
                    {rules->write.begin(), rules->write.end()},
                    {rules->never.begin(), rules->never.end()}};
    if (const io::Path weights = jobs::weights_folder(); !weights.empty()) roots.read.push_back(weights);
    door.emplace(roots);
  } catch (const Error& error) {
    return failed(task, error.kind(), task.stage + ": " + error.what());
  }
  const io::Behind behind(&*door, io::Behind::Who::kProcess);
  return run_with_group(task, stages, context, control, options);
}
}  // namespace

std::string run_actor(Control& control, const Stages& stages, const ActorOptions& options) {
  std::string lost;
  while (const auto task = control.next_task()) {
    if (lost.empty()) {
      TaskContext context = context_of(*task, control, options);
      if (options.in_hand != nullptr)
        options.in_hand->begin(task->job, task->stage, task->shard ? task->shard->path : "");
      jobs::Message answer = run_behind_door(*task, stages, context, control, options);
      if (options.in_hand != nullptr) options.in_hand->end();
      if (const auto* failure = std::get_if<jobs::TaskFailed>(&answer); failure != nullptr)
        log_warning("actor", task->stage + " failed (" + std::string(name_of(failure->kind)) +
                                 "): " + failure->message);
      lost = lost_device(answer);
      if (!lost.empty()) log_error("actor", options.device + " is lost: this worker takes no task any more");
      // What is the program's would be no better with another worker: the job hears of it.
      if (lost.empty() || device_error(lost).culprit == Culprit::kProgram) {
        control.end_task(std::move(answer));
        continue;
      }
    }
    control.end_task(jobs::device_lost(task->lease, lost));
  }
  return lost;
}

}  // namespace trireme::worker::runtime
