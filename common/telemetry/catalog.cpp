#include "common/telemetry/catalog.h"

namespace trireme::telemetry {
namespace {
const std::vector<double> kSeconds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                   0.1,    0.25,    0.5,    1,     2.5,    5,     10,   30,    60};

using enum MetricType;

const std::vector<MetricInfo> kCatalog{
    {"trireme_build_info", kGauge, "1, labelled with the version", {"version"}},
    {"trireme_run_info", kGauge, "1, labelled with the run", {"run_id", "incarnation"}},
    {"trireme_incarnation", kGauge, "Starts of this run so far"},
    // training (gang rank 0 of the workers)
    {"trireme_train_steps_total", kCounter, "Training steps done"},
    {"trireme_train_samples_total", kCounter, "Samples trained on, over all workers"},
    {"trireme_train_step_duration_seconds",
     kHistogram,
     "Time of a training step by phase",
     {"phase"},
     kSeconds},
    {"trireme_train_loss", kGauge, "Global-batch loss of the last step"},
    {"trireme_train_loss_part", kGauge, "Parts of the loss of the last step, where it has several", {"part"}},
    {"trireme_train_gate",
     kGauge,
     "ALIP's gates at the last step: running means of similarities and mean weights",
     {"gate"}},
    {"trireme_train_grad_norm", kGauge, "Norm of the global gradient at the last step"},
    {"trireme_evaluation_value", kGauge, "Last value of a metric on an evaluated set", {"set", "metric"}},
    {"trireme_train_logit_scale", kGauge, "ln(1/temperature)"},
    {"trireme_train_learning_rate", kGauge, "Learning rate of the last step"},
    {"trireme_train_model_flops_per_second", kGauge,
     "Model FLOPs of the trained pairs per second, over all workers"},
    {"trireme_train_mfu_ratio", kGauge,
     "The same over the matrix-product rate that the first of them measured at the start, times the "
     "workers"},
    {"trireme_train_nonfinite_total", kCounter, "Non-finite values met", {"where"}},
    {"trireme_train_steps_skipped_total", kCounter,
     "Steps skipped: too few live samples, or a non-finite gradient"},
    {"trireme_train_rollbacks_total", kCounter, "Returns to a checkpoint after a non-finite step"},
    // collectives (workers)
    {"trireme_collective_duration_seconds", kHistogram, "Time of a collective", {"op", "backend"}, kSeconds},
    {"trireme_collective_bytes_total", kCounter, "Bytes moved by collectives", {"op"}},
    // devices (workers)
    {"trireme_device_fallback",
     kGauge,
     "1 where a worker goes on without something of its GPU: torch, driver, hidden, health (it computes on "
     "the CPU), plugin (no NCCL), kernels (the loss out of torch's operations)",
     {"reason"}},
    {"trireme_device_peak_bytes", kGauge, "Most memory that tensors took on the GPU at once"},
    // tasks (workers)
    {"trireme_samples_total", kCounter, "Samples by stage kind and outcome", {"stage", "outcome"}},
    {"trireme_task_duration_seconds", kHistogram, "Time of a task", {"kind"}, kSeconds},
    {"trireme_process_resident_bytes", kGauge, "Resident memory of the process"},
    // coordinator: fleet
    {"trireme_worker_up", kGauge, "1 while heartbeats arrive and it takes tasks", {"worker", "host"}},
    {"trireme_worker_last_heartbeat_timestamp_seconds",
     kGauge,
     "When the last heartbeat arrived",
     {"worker"}},
    {"trireme_worker_speed_ratio", kGauge, "Rate over the fastest worker's (1 = fastest)", {"worker"}},
    {"trireme_control_rejected_total", kCounter, "Control messages refused", {"reason"}},
    // coordinator: tasks and jobs
    {"trireme_shards", kGauge, "Tasks by stage and state", {"stage", "state"}},
    {"trireme_shard_duration_seconds", kHistogram, "Time from lease to commit", {"stage"}, kSeconds},
    {"trireme_shard_attempts_total", kCounter, "Attempts at tasks", {"stage", "outcome"}},
    {"trireme_job_state", kGauge, "1 for the state a job is in", {"job", "state"}},
    {"trireme_job_progress_ratio", kGauge, "Share of a stage that is committed", {"job", "stage"}},
    {"trireme_job_eta_seconds", kGauge, "Estimated time to the end of the job", {"job"}},
    {"trireme_jobs_queued", kGauge, "Jobs that wait"},
    {"trireme_restarts_total", kCounter, "Restarts of the run", {"cause"}},
    {"trireme_recovery_duration_seconds",
     kHistogram,
     "From the start of an incarnation to its first lease",
     {},
     kSeconds},
    {"trireme_checkpoint_duration_seconds", kHistogram, "Time of a checkpoint by part", {"part"}, kSeconds},
    {"trireme_checkpoint_bytes", kGauge, "Size of the last checkpoint"},
    {"trireme_checkpoint_failures_total", kCounter, "Checkpoints that were not committed", {"cause"}},
    {"trireme_checkpoint_last_success_timestamp_seconds", kGauge, "When the last checkpoint was committed"},
    {"trireme_checkpoint_last_step", kGauge, "Step of the last committed checkpoint"},
    // coordinator: ledger, disk, HTTP
    {"trireme_ledger_commit_duration_seconds", kHistogram, "Time of a ledger transaction", {}, kSeconds},
    {"trireme_ledger_bytes", kGauge, "Size of the ledger", {"file"}},
    {"trireme_ledger_errors_total", kCounter, "Ledger errors", {"code"}},
    {"trireme_ledger_replay_duration_seconds", kGauge, "Time of the start check and replay"},
    {"trireme_disk_free_bytes", kGauge, "Free space of a root", {"root"}},
    {"trireme_http_requests_total", kCounter, "Requests", {"route", "method", "code"}},
    {"trireme_http_request_duration_seconds", kHistogram, "Time of a request", {"route"}, kSeconds},
    // search service
    {"trireme_search_workers", kGauge, "Workers of the search service that are ready"},
    {"trireme_search_waiting", kGauge, "Calls that wait for a worker's answer"},
    {"trireme_search_worker_losses_total", kCounter, "Workers that ended without being asked"},
    {"trireme_search_takeovers_total", kCounter, "Newer indexes: taken over, or refused", {"outcome"}},
    {"trireme_search_items", kGauge, "Items of a served index", {"index"}},
};
}  // namespace

const std::vector<MetricInfo>& catalog() {
  return kCatalog;
}

}  // namespace trireme::telemetry
