#include "worker/stages/train/run/step_reporter.h"

#include <algorithm>
#include <cmath>

#include <c10/core/CachingDeviceAllocator.h>

#include "common/base/log.h"
#include "common/telemetry/metrics.h"

namespace trireme::worker::stages::train {
namespace {

// Rate and ETA shown to people look back over about ten steps: the last batch of an epoch is short.
constexpr double kRateMemory = 0.9;

}  // namespace

StepReporter::StepReporter(runtime::TaskContext& context, const io::Path& log, std::int64_t resumed_step,
                           std::int64_t total_steps, double flops_per_sample, double matmul_rate)
    : context_(context),
      log_(log, resumed_step),
      total_steps_(total_steps),
      flops_per_sample_(flops_per_sample),
      matmul_rate_(matmul_rate) {}

void StepReporter::add(const StepRow& row) {
  log_.append(row);
  recent_samples_ = kRateMemory * recent_samples_ + static_cast<double>(row.live);
  recent_seconds_ = kRateMemory * recent_seconds_ + row.seconds;
  jobs::StepReport message;
  message.step = row.step;
  message.steps = total_steps_;
  message.epoch = row.epoch;
  message.samples = row.samples;
  message.loss = row.loss;
  message.learning_rate = row.learning_rate;
  message.logit_scale = row.logit_scale;
  message.gradient_norm = row.gradient_norm;
  message.samples_per_second = recent_samples_ / std::max(recent_seconds_, 1e-9);
  message.evaluation = row.evaluation;
  if (context_.report_step) context_.report_step(message);
  if (context_.progress) context_.progress(row.step, total_steps_);
  if (context_.metrics != nullptr) count(row, message.samples_per_second);
}

void StepReporter::count(const StepRow& row, double samples_per_second) {
  auto& metrics = *context_.metrics;
  metrics.count("trireme_train_steps_total");
  metrics.count("trireme_train_samples_total", static_cast<double>(row.live));
  metrics.observe("trireme_train_step_duration_seconds", row.data_wait_seconds, {{"phase", "data_wait"}});
  metrics.observe("trireme_train_step_duration_seconds", row.seconds, {{"phase", "total"}});
  metrics.set("trireme_train_loss", row.loss);
  metrics.set("trireme_train_grad_norm", row.gradient_norm);
  metrics.set("trireme_train_logit_scale", row.logit_scale);
  metrics.set("trireme_train_learning_rate", row.learning_rate);
  for (const auto& [part, value] : row.parts) metrics.set("trireme_train_loss_part", value, {{"part", part}});
  for (const auto& [gate, value] : row.gates) metrics.set("trireme_train_gate", value, {{"gate", gate}});
  if (context_.device != "cpu") {
    const at::Device device(context_.device);
    const auto used = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    metrics.set("trireme_device_peak_bytes", static_cast<double>(used.allocated_bytes[0].peak));
  }
  const double flops = flops_per_sample_ * samples_per_second;
  metrics.set("trireme_train_model_flops_per_second", flops);
  metrics.set("trireme_train_mfu_ratio", flops / matmul_rate_);
}

void StepReporter::count_guarded(std::int64_t step, const StepResult& done) {
  if (done.only_once)
    log_warning("train", "step " + std::to_string(step) +
                             " was not finite, and is finite when computed again on the same data: "
                             "memory or a processor may be failing");
  if (context_.metrics == nullptr) return;
  if (done.only_once) context_.metrics->count("trireme_train_nonfinite_total", 1, {{"where", "once"}});
  if (done.skipped()) context_.metrics->count("trireme_train_steps_skipped_total");
  if (done.non_finite)
    context_.metrics->count("trireme_train_nonfinite_total", 1,
                            {{"where", std::isfinite(done.loss.value) ? "gradient" : "loss"}});
}

void StepReporter::sidecars(double seconds) {
  if (context_.metrics != nullptr)
    context_.metrics->observe("trireme_train_step_duration_seconds", seconds, {{"phase", "sidecars"}});
}

}  // namespace trireme::worker::stages::train
