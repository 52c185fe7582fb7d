#include "worker/stages/train/run/checkpoints.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "common/base/error.h"
#include "common/base/log.h"
#include "worker/stages/train/state/step_log.h"

namespace trireme::worker::stages::train {
namespace {

using std::chrono::steady_clock;
constexpr std::int64_t kUnsettled = -2;  // below every step
constexpr std::size_t kKept = 2;         // the newest may not be committed yet

double since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

}  // namespace

Checkpoints::Checkpoints(const jobs::Task& task, runtime::TaskContext& context, collective::Group& group,
                         Of of, bool rolls_back)
    : task_(task), context_(context), group_(group), of_(of), rolls_back_(rolls_back) {
  if (leads())
    writer_ = std::make_unique<CheckpointWriter>(
        task_.checkpoint_folder, StepLog::of(task_.stage_folder), context_.incarnation, group_.size(),
        task_.checkpoint_fail_after_seconds, context_.checkpoint_written, context_.metrics);
}

bool Checkpoints::resume() {
  if (task_.resume_from.empty()) return false;
  TrainState state = read_state(task_.resume_from);
  Progress& progress = of_.state.progress;
  if (state.progress.manifest_hash != progress.manifest_hash || state.progress.seed != progress.seed)
    throw Error(ErrorKind::kDamaged,
                "checkpoint " + task_.resume_from + " was made with other data (manifest " +
                    state.progress.manifest_hash + ", now " + progress.manifest_hash + ")",
                "restore the data, or give the job another output folder to start afresh");
  restore(state);
  progress = state.progress;
  of_.state.best = std::move(state.best);
  resumed_step_ = progress.step;
  if (leads()) log_info("train", "resumed at step " + std::to_string(progress.step));
  return true;
}

void Checkpoints::restore(const TrainState& state) {
  load_model_tensors(of_.encoder, state.model);
  of_.learner.load_state(state.training);
  of_.step.optimizer().load_state(state.optimizer);
  if (auto* average = of_.step.average()) average->load_state(state.average);
  of_.signals.load(state.training);
}

std::int64_t Checkpoints::roll_back() {
  if (leads()) writer_->wait();
  const std::int64_t step = from_leader(leads() ? committed_step() : -1);
  if (step < 0)
    throw Error(ErrorKind::kInvalid,
                "loss or gradient of step " + std::to_string(of_.state.progress.step + 1) +
                    " was not finite, and no checkpoint has been committed to go back to",
                "set checkpoint.every_steps, or guard.on_non_finite to \"skip\"");
  if (const auto kept = kept_.find(step); kept != kept_.end()) {
    TrainState copy = kept->second;
    copy.training = on_host(copy.training);  // what goes on with these very tensors
    restore(copy);
  } else {
    restore(read_state(step == resumed_step_
                           ? task_.resume_from
                           : find_checkpoint(task_.checkpoint_folder, step, task_.address)));
  }
  save_now_ = true;  // so that a restart does not go through it again
  return step;
}

// Every rank holds the same state, so rank 0 saves and decides alone; only stopping must be agreed on.
void Checkpoints::save_if_due(bool last_step) {
  const Progress& progress = of_.state.progress;
  const bool best = progress.best_step == progress.step;
  const bool must = best || save_now_ || last_step;
  if (!leads()) {
    if (rolls_back_ && (must || due_by_steps(progress.step))) keep(state());
    save_now_ = false;
    return;
  }
  writer_->throw_if_hopeless();
  if (must) writer_->wait();
  if (must || due_by_steps(progress.step) || due_by_time()) save(best);
  save_now_ = false;
}

bool Checkpoints::due_by_time() const {
  return (task_.checkpoint_every_seconds > 0 && since(last_save_) >= task_.checkpoint_every_seconds) ||
         writer_->wants_another_try() || save_now_;
}

TrainState Checkpoints::state() const {
  TrainState state{
      .progress = of_.state.progress, .model = model_tensors(of_.encoder), .best = of_.state.best};
  state.optimizer = on_host(of_.step.optimizer().state());
  if (const auto* average = of_.step.average()) state.average = on_host(average->state());
  state.training = on_host(of_.learner.state());
  if (of_.signals.samples() > 0)
    for (auto& named : of_.signals.tensors()) state.training.push_back(std::move(named));
  return state;
}

void Checkpoints::save(bool best) {
  const auto begin = steady_clock::now();
  TrainState now = state();
  if (rolls_back_) keep(now);
  last_save_ = begin;
  writer_->start(std::move(now), best, since(begin));
}

void Checkpoints::keep(const TrainState& state) {
  kept_.insert_or_assign(state.progress.step, state).first->second.best.clear();
  if (kept_.size() > kKept) kept_.erase(kept_.begin());
}

void Checkpoints::wait() {
  writer_->wait();
}

Checkpoints::Asked Checkpoints::asked() {
  const bool stop = context_.stop != nullptr && context_.stop->checkpoint_first();
  const bool done = leads() && due_by_time();
  if (group_.size() == 1) return {stop, done};
  const at::Tensor all = group_.all_gather(at::tensor({stop ? 1 : 0, done ? 1 : 0}, at::kLong).view({1, 2}));
  const at::Tensor sum = all.sum(0);
  return {sum[0].item<std::int64_t>() > 0, sum[1].item<std::int64_t>() > 0};
}

std::int64_t Checkpoints::from_leader(std::int64_t value) {
  if (group_.size() == 1) return value;
  return group_.all_gather(at::full({1}, value, at::kLong))[0].item<std::int64_t>();
}

std::int64_t Checkpoints::committed_step() const {
  return std::max(resumed_step_,
                  context_.last_committed_checkpoint ? context_.last_committed_checkpoint() : -1);
}

// One step's worth of waiting for what the last checkpoint becomes, so that no member waits too long for us.
std::int64_t Checkpoints::settle_last() {
  const Progress& progress = of_.state.progress;
  const auto until = steady_clock::now() + std::chrono::seconds(1);
  while (committed_step() < progress.step && steady_clock::now() < until) {
    if (!writer_->busy() && writer_->last_written() != progress.step) {
      if (std::exchange(tried_to_stop_, true)) return committed_step();  // it could not be written
      save(progress.best_step == progress.step);
    }
    context_.stop->throw_if_stopped();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return committed_step() < progress.step ? kUnsettled : committed_step();
}

void Checkpoints::stop_after_one() {
  const std::int64_t step = of_.state.progress.step;
  std::int64_t kept = step > 0 ? kUnsettled : 0;
  while (kept == kUnsettled) kept = from_leader(leads() ? settle_last() : 0);
  const std::string after = "training stopped after step " + std::to_string(step);
  if (kept == step) throw Error(ErrorKind::kCancelled, after + (kept > 0 ? " with a checkpoint" : ""));
  throw Error(ErrorKind::kCancelled,
              after + ", and its checkpoint could not be written: " +
                  (kept < 0 ? "there is none to go on from"
                            : "the newest to go on from is that of step " + std::to_string(kept)));
}

}  // namespace trireme::worker::stages::train
