#include "worker/stages/train/state/checkpoint_writer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "common/telemetry/metrics.h"
#include "jobs/store/checkpoint.h"
#include "worker/checkpoint/safetensors.h"

namespace trireme::worker::stages::train {
namespace {

std::uint64_t bytes_of(const TrainState& state) {
  std::uint64_t bytes = 0;
  for (const auto* tensors : {&state.model, &state.optimizer, &state.average, &state.training, &state.best})
    for (const auto& [name, tensor] : *tensors) bytes += tensor.nbytes();
  return bytes;
}

}  // namespace

CheckpointWriter::CheckpointWriter(std::string folder, io::Path log, Incarnation incarnation, int world_size,
                                   double fail_after_seconds,
                                   std::function<void(const jobs::CheckpointWritten&)> written,
                                   telemetry::Metrics* metrics)
    : folder_(std::move(folder)),
      log_(std::move(log)),
      incarnation_(incarnation),
      world_size_(world_size),
      fail_after_(fail_after_seconds),
      written_(std::move(written)),
      metrics_(metrics) {}

CheckpointWriter::~CheckpointWriter() {
  wait();
}

bool CheckpointWriter::busy() const {
  const std::lock_guard lock(mutex_);
  return busy_;
}

std::int64_t CheckpointWriter::last_written() const {
  const std::lock_guard lock(mutex_);
  return last_written_;
}

void CheckpointWriter::wait() {
  if (thread_.joinable()) thread_.join();
}

bool CheckpointWriter::start(TrainState state, bool best, double stall_seconds) {
  if (busy()) {
    count_failure("busy");
    return false;
  }
  wait();
  busy_ = true;
  thread_ = std::thread([this, state = std::move(state), best, stall_seconds] {
    try {
      write(state, best, stall_seconds);
    } catch (const Error& error) {
      failed(state.progress.step, error);
    } catch (const std::exception& error) {
      failed(state.progress.step, Error(ErrorKind::kInternal, error.what()));
    }
    const std::lock_guard lock(mutex_);
    busy_ = false;
  });
  return true;
}

void CheckpointWriter::failed(std::int64_t step, const Error& error) {
  log_warning("train", "checkpoint of step " + std::to_string(step) +
                           " was not written, training goes on: " + error.what());
  count_failure(error.kind() == ErrorKind::kDiskFull ? "disk_full" : "error");
  // What was written so far takes the room from those who wait for it.
  io::remove_tree(io::Path(folder_) / store::checkpoint_aside_name(step, incarnation_));
  const auto now = std::chrono::steady_clock::now();
  const std::lock_guard lock(mutex_);
  failed_at_ = now;
  if (!failing_since_) failing_since_ = now;
  if (now - *failing_since_ < fail_after_) return;
  const auto since = std::chrono::duration_cast<std::chrono::seconds>(now - *failing_since_).count();
  hopeless_ = Error(
      error.kind(), "no checkpoint could be written for " + std::to_string(since) + " s: " + error.what(),
      "put right what is wrong with " + folder_ +
          " and start the job again; checkpoint.fail_after_seconds says for how long it may be");
}

void CheckpointWriter::throw_if_hopeless() const {
  const std::lock_guard lock(mutex_);
  if (hopeless_) throw Error(*hopeless_);
}

bool CheckpointWriter::wants_another_try() const {
  const auto patience =
      std::clamp(fail_after_ / 10, std::chrono::duration<double>(0.1), std::chrono::duration<double>(60));
  const std::lock_guard lock(mutex_);
  return failed_at_ && !busy_ && std::chrono::steady_clock::now() - *failed_at_ >= patience;
}

void CheckpointWriter::write(const TrainState& state, bool best, double stall_seconds) {
  const auto begin = std::chrono::steady_clock::now();
  const io::Path parent = folder_;
  io::make_folders(parent);
  const auto needed = static_cast<std::uint64_t>(1.2 * static_cast<double>(bytes_of(state)));
  if (io::free_bytes(parent) < needed)
    throw Error(ErrorKind::kDiskFull, folder_ + " has less than the " + std::to_string(needed) +
                                          " bytes free that a checkpoint needs");
  jobs::CheckpointWritten message;
  message.step = state.progress.step;
  message.epoch = state.progress.epoch;
  message.best = best;
  message.metric = state.progress.best_metric;
  message.state = to_json(state.progress, world_size_);
  const io::Path folder = parent / store::checkpoint_aside_name(message.step, incarnation_);
  io::remove_tree(folder);  // half written, of this incarnation: never announced
  io::make_folders(folder);
  const auto write_file = [&](const std::string& name, const NamedTensors& tensors) {
    if (tensors.empty()) return;
    const io::Path path = folder / name;
    checkpoint::write_safetensors(path, tensors, {{"state", message.state}});
    message.files.push_back({name, path.string(), io::size_of(path), io::xxh3_of_file(path)});
    fault_point("ckpt.after_file_k");
  };
  write_file("model.safetensors", state.model);
  write_file("optimizer.safetensors", state.optimizer);
  write_file("average.safetensors", state.average);
  write_file("training.safetensors", state.training);
  write_file("best.safetensors", state.best);
  io::sync_folder(folder);
  io::sync_folder(parent);
  if (io::exists(log_)) io::sync_file(log_);
  message.folder = folder.string();
  message.stall_seconds = stall_seconds;
  message.write_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  {
    const std::lock_guard lock(mutex_);
    last_written_ = message.step;
    failing_since_.reset();
    failed_at_.reset();
  }
  if (written_) written_(message);
}

void CheckpointWriter::count_failure(const char* cause) const {
  if (metrics_ != nullptr) metrics_->count("trireme_checkpoint_failures_total", 1, {{"cause", cause}});
}

}  // namespace trireme::worker::stages::train
