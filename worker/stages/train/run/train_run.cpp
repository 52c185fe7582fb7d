#include "worker/stages/train/run/train_run.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/base/processor_time.h"
#include "common/io/hash.h"
#include "common/telemetry/metrics.h"
#include "worker/data/batches/picture_filter.h"
#include "worker/runtime/device/device.h"
#include "worker/stages/train/inputs/swap_captions.h"
#include "worker/stages/train/run/count_sum.h"
#include "worker/stages/train/run/step_options.h"
#include "worker/stages/train/run/utilization.h"
#include "worker/stages/train/state/result_folder.h"

namespace trireme::worker::stages::train {
namespace {

using std::chrono::steady_clock;

double seconds_since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

constexpr std::int64_t kStepsAhead = 3;  // on a GPU: the one that is due, and two that travel

struct Place {
  std::int64_t epoch = 0, step_in_epoch = 0;
};

Place place_of(const data::SampleOrder& order, std::int64_t batch, std::int64_t step) {
  Place place;
  for (;; ++place.epoch) {
    const auto steps = data::steps_per_epoch(order.epoch_size(place.epoch), batch);
    if (step < steps) break;
    step -= steps;
  }
  place.step_in_epoch = step;
  return place;
}

std::int64_t steps_of(const jobs::TrainSettings& settings, const data::SampleOrder& order) {
  if (settings.steps) return *settings.steps;
  std::int64_t steps = 0;
  for (std::int64_t epoch = 0; epoch < settings.epochs; ++epoch)
    steps += data::steps_per_epoch(order.epoch_size(epoch), settings.global_batch);
  return steps;
}

// For its lifetime the model has the average of the weights, where there is one.
class AveragedWeights {
 public:
  AveragedWeights(optim::WeightAverage* average, Learner& learner) : average_(average), learner_(learner) {
    exchange();
  }
  ~AveragedWeights() { exchange(); }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  void exchange() {
    if (average_ == nullptr) return;
    average_->exchange();
    learner_.updated();
  }
  optim::WeightAverage* average_;
  Learner& learner_;
};

NamedTensors weights_of(models::DualEncoder& encoder, const Learner& learner) {
  NamedTensors tensors = encoder.state();
  for (auto& named : learner.state()) tensors.push_back(std::move(named));
  return tensors;
}

// Armed with the action `error`: a bit of this rank's weights flips.
void flip_bit_point(models::DualEncoder& encoder) {
  if (fault_due("train.flip_bit"))
    encoder.state().front().second.detach().view(-1).narrow(0, 0, 1).view(at::kByte).bitwise_xor_(1);
}

}  // namespace

TrainRun::TrainRun(const jobs::Task& task, const jobs::TrainSettings& settings, runtime::TaskContext& context,
                   collective::Group& group)
    : task_(task),
      context_(context),
      group_(group),
      inputs_(runtime::read_inputs(task)),
      settings_(settings),
      guard_(settings_.guard),
      own_(collective::own_slots(settings_.logical_slots, group.size(), group.rank())),
      pool_(settings_.deterministic == jobs::Determinism::kCanonical ? context.threads : 1,
            settings_.deterministic == jobs::Determinism::kCanonical ? 1 : context.threads,
            [stop = context.stop] { return stop != nullptr && stop->stop_now(); }),
      copies_(context.device) {}

jobs::TaskDone TrainRun::run() {
  open_data();
  open_objective();
  open_order();
  open_step();
  open_loader();
  open_reporter();
  train();
  return result();
}

void TrainRun::open_data() {
  data_ = load_data_set(settings_.data, jobs::data_from_json(task_.data), inputs_);
  swap_captions(data_, settings_.swap_captions);
  if (settings_.evaluate_every.steps > 0)
    evaluation_data_ =
        load_data_set(settings_.evaluate_every.data, jobs::data_from_json(task_.evaluate_data), inputs_);
}

void TrainRun::open_objective() {
  encoder_ = std::make_unique<models::DualEncoder>(jobs::model_from_json(task_.model),
                                                   static_cast<std::uint64_t>(settings_.seed));
  encoder_->to(context_.device);
  objective_ = make_objective({.settings = settings_,
                               .inputs = inputs_,
                               .data = data_,
                               .evaluated = evaluation_data_ ? &*evaluation_data_ : nullptr,
                               .encoder = *encoder_,
                               .group = group_,
                               .pool = pool_,
                               .device = context_.device});
  const auto sidecars = objective_->sidecars();
  sidecars_.any = sidecars.any;
  sidecars_.opened_seconds = sidecars.opened_seconds;
}

void TrainRun::open_order() {
  order_ = std::make_shared<data::SampleOrder>(data_.manifest(), static_cast<std::uint64_t>(settings_.seed));
  if (order_->epoch_size(0) == 0)
    throw Error(ErrorKind::kInvalid, "data set '" + settings_.data + "' has no sample left to train on");
  total_steps_ = steps_of(settings_, *order_);
  // As many steps as the last one's epoch has: the whole of it, where training ends with an epoch.
  const Place last = place_of(*order_, settings_.global_batch, total_steps_ - 1);
  observed_from_ =
      total_steps_ - data::steps_per_epoch(order_->epoch_size(last.epoch), settings_.global_batch);
  state_.progress.seed = static_cast<std::uint64_t>(settings_.seed);
  state_.progress.manifest_hash = order_->manifest_hash();
}

void TrainRun::open_step() {
  Learner& learner = objective_->learner();
  step_ = std::make_unique<TrainingStep>(learner, group_, pool_, step_options(settings_, total_steps_));
  signals_ = std::make_unique<SignalTally>(objective_->signals());
  checkpoints_ = std::make_unique<Checkpoints>(task_, context_, group_,
                                               Checkpoints::Of{*encoder_, learner, *step_, *signals_, state_},
                                               settings_.guard.on_non_finite == jobs::OnNonFinite::kRollback);
  if (checkpoints_->resume()) objective_->resumed();
}

void TrainRun::open_loader() {
  std::vector<std::shared_ptr<const data::ShardReader>> readers;
  std::vector<std::string> hashes;
  for (const auto& shard : data_.shards) {
    readers.push_back(shard.reader);
    hashes.push_back(shard.ref.sha256);
  }
  data::LoaderOptions options{.global_batch = settings_.global_batch};
  options.logical_slots = settings_.logical_slots;
  options.first_slot = own_.first;
  options.last_slot = own_.last;
  options.seed = static_cast<std::uint64_t>(settings_.seed);
  options.augment = settings_.augment;
  data::prepare_as(encoder_->image_preprocess(), options);
  options.captions_of = data_.texts_of;
  options.threads = context_.threads;
  objective_->ask(options);
  options.bytes = copies_.ahead() && options.images;
  loader_ =
      std::make_unique<data::BatchLoader>(readers, hashes, order_, data_.classes, data_.templates, options);
  const Place place = place_of(*order_, settings_.global_batch, state_.progress.step);
  loader_->seek(place.epoch, place.step_in_epoch);
}

void TrainRun::open_reporter() {
  if (!leads()) return;
  io::make_folders(task_.stage_folder);
  const auto stored = objective_->stored();
  double rate = 1;
  if (context_.metrics != nullptr)
    rate = matmul_rate(context_.device, settings_.precision == jobs::Precision::kBf16) *
           (context_.device == "cpu" ? context_.threads / static_cast<double>(at::get_num_threads()) : 1);
  reporter_ = std::make_unique<StepReporter>(context_, StepLog::of(task_.stage_folder), state_.progress.step,
                                             total_steps_, pair_flops(*encoder_, stored.images, stored.texts),
                                             rate * group_.size());
}

void TrainRun::train() {
  const auto& progress = state_.progress;
  while (progress.step < total_steps_) {
    const auto asked = checkpoints_->asked();
    if (asked.stop || asked.done) finish_all();
    if (asked.stop) checkpoints_->stop_after_one();
    if (context_.stop != nullptr) context_.stop->throw_if_stopped();
    if (progress.step == total_steps_) break;
    launch();
    const auto steps = progress.step + static_cast<std::int64_t>(launched_.size());
    if (!step_->reads_later() || must_be_done(steps))
      finish_all();
    else if (launched_.size() > 1)
      finish_one();
  }
  if (leads() && sidecars_.any && sidecars_.steps > 0) log_info("train", sidecars_.text());
}

// What is looked at, written or decided with the weights as they are after so many steps.
bool TrainRun::must_be_done(std::int64_t steps) const {
  return is_compared(steps, total_steps_) || checkpoints_->due_by_steps(steps) ||
         (evaluation_data_ && steps % settings_.evaluate_every.steps == 0);
}

void TrainRun::launch() {
  const auto begin = steady_clock::now();
  const double processor = process_seconds();
  const std::int64_t step = state_.progress.step + static_cast<std::int64_t>(launched_.size());
  Launched& launched = launched_.emplace_back(Launched{step, prepared(step), {}, begin});
  runtime::device_fault_point();
  launched.result = step_->launch(launched.prepared.inputs, step, step >= observed_from_);
  sidecars_.all_seconds += process_seconds() - processor;
}

void TrainRun::finish_all() {
  while (!launched_.empty()) finish_one();
}

void TrainRun::finish_one() {
  const double processor = process_seconds();
  Launched launched = std::move(launched_.front());
  launched_.pop_front();
  StepRow row = read_step(launched);
  sidecars_.all_seconds += process_seconds() - processor;
  ++sidecars_.steps;
  finish_step(row);
  flip_bit_point(*encoder_);
  if (launched_.empty() && is_compared(state_.progress.step, total_steps_))
    compare_replicas(weights_of(*encoder_, objective_->learner()), state_.progress.step, group_,
                     task_.members);
  row.seconds = seconds_since(std::max(launched.begin, last_end_));
  last_end_ = steady_clock::now();
  if (leads()) reporter_->add(row);
  fault_point("train.after_step_before_ack");
  if (launched_.empty()) checkpoints_->save_if_due(state_.progress.step == total_steps_);
}

// What this step computes on; on a GPU two steps more are on their way there.
TrainRun::Prepared TrainRun::prepared(std::int64_t step) {
  const auto wanted = std::min<std::int64_t>(copies_.ahead() ? kStepsAhead : 1, total_steps_ - step);
  while (static_cast<std::int64_t>(ahead_.size()) < wanted)
    ahead_.push_back(prepare(step + static_cast<std::int64_t>(ahead_.size())));
  Prepared next = std::move(ahead_.front());
  ahead_.pop_front();
  copies_.hand_over(next.copied, next.inputs);
  return next;
}

TrainRun::Prepared TrainRun::prepare(std::int64_t step) {
  Prepared made{.batch = loader_->next(), .inputs = {}, .counts = {}, .copied = nullptr};
  made.inputs.resize(made.batch.slots.size());
  made.counts.resize(made.batch.slots.size());
  pool_.for_each(own_.size(), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    copies_.run([&] {
      made.inputs[at] = objective_->input(made.batch.slots[at], step, own_.first + i, made.counts[at]);
    });
  });
  made.copied = copies_.mark();
  return made;
}

StepRow TrainRun::read_step(Launched& launched) {
  StepResult& done = launched.result;
  step_->read(done);
  const auto& [batch, inputs, counts, copied] = launched.prepared;
  tally(launched.prepared, done);
  double from_sidecars = batch.sidecar_seconds;
  for (const auto& input : inputs) from_sidecars += input.target_seconds;
  sidecars_.step_seconds += from_sidecars;
  for (const auto& [reason, count] : batch.bad) counts_["bad." + reason] += count;
  for (const auto& slot : counts)
    for (const auto& [name, count] : slot) counts_[name] += count;
  StepRow row = row_of(done, objective_->parts());
  row.step = launched.step + 1;
  row.epoch = batch.epoch;
  row.data_wait_seconds = batch.wait_seconds;
  if (leads()) {
    row.order_hash = order_hash(batch.epoch, batch.step_in_epoch);
    if (sidecars_.any) reporter_->sidecars(from_sidecars);
    reporter_->count_guarded(row.step, done);
  }
  skipped_ += row.skipped ? 1 : 0;
  if (guard_.after(row.step, done.non_finite, state_.progress.rollbacks) == GuardAction::kRollBack)
    roll_back(row);
  return row;
}

// Collective. Rows went dead in `inputs` for reasons that the batch does not know of.
void TrainRun::tally(const Prepared& prepared, const StepResult& done) {
  const auto& batch = prepared.batch;
  const auto& inputs = prepared.inputs;
  if (done.loss.signals_Kb.empty() || done.skipped()) return;
  if (!truth_) truth_ = std::make_unique<TruthTable>(data_);
  std::vector<std::vector<Truth>> truth(batch.slots.size());
  std::vector<at::Tensor> live;
  for (std::size_t slot = 0; slot < batch.slots.size(); ++slot) {
    for (const auto& sample : batch.slots[slot].samples) truth[slot].push_back(truth_->of(sample));
    live.push_back(inputs[slot].live_B);
  }
  signals_->add(done.loss.signals_Kb, live, truth, group_);
}

// What was launched behind the step begins again, with the weights gone back to.
void TrainRun::roll_back(StepRow& row) {
  const auto begin = steady_clock::now();
  row.rolled_back_to = checkpoints_->roll_back();
  ++state_.progress.rollbacks;
  for (auto& launched : launched_)
    launched.result = step_->launch(launched.prepared.inputs, launched.step, launched.step >= observed_from_);
  if (!leads()) return;
  log_warning("train", "step " + std::to_string(row.step) + " was not finite: weights of step " +
                           std::to_string(row.rolled_back_to) + " again after " +
                           std::to_string(seconds_since(begin)) + " s, the batches since are left out");
  if (context_.metrics != nullptr) context_.metrics->count("trireme_train_rollbacks_total");
}

void TrainRun::finish_step(StepRow& row) {
  auto& progress = state_.progress;
  ++progress.step;
  progress.epoch = row.epoch;
  progress.samples += row.live;
  row.samples = progress.samples;
  const auto every = settings_.evaluate_every.steps;
  if (evaluation_data_ && (progress.step % every == 0 || progress.step == total_steps_)) evaluate(row);
}

void TrainRun::evaluate(StepRow& row) {
  const AveragedWeights averaged(step_->average(), objective_->learner());
  const auto metrics = objective_->evaluate();
  row.evaluation = evaluation::to_json(metrics);
  if (leads() && context_.metrics != nullptr)
    for (const auto& [name, one] : metrics)
      context_.metrics->set("trireme_evaluation_value", one,
                            {{"set", settings_.evaluate_every.data}, {"metric", name}});
  const double value = evaluation::metric(metrics, std::string(name_of(settings_.evaluate_every.metric)));
  auto& progress = state_.progress;
  if (progress.best_step >= 0 && !objective_->better(value, progress.best_metric)) return;
  progress.best_step = progress.step;
  progress.best_metric = value;
  state_.best = model_tensors(*encoder_);
  for (auto& named : on_host(objective_->beside_encoder())) state_.best.push_back(std::move(named));
}

jobs::TaskDone TrainRun::result() {
  jobs::TaskDone done;
  done.counts["steps"] = total_steps_;
  done.counts["samples"] = state_.progress.samples;
  done.counts["skipped_steps"] = skipped_;
  done.counts["rollbacks"] = state_.progress.rollbacks;
  for (const auto& [name, count] : sum_over(group_, counts_)) done.counts[name] = count;
  if (!leads()) return done;
  checkpoints_->wait();
  const AveragedWeights averaged(step_->average(), objective_->learner());
  if (!state_.best.empty()) load_model_tensors(*encoder_, state_.best);
  done.summary = to_json(state_.progress, group_.size());
  done.outputs.push_back(
      write_result(task_, *encoder_, signals_->to_json(state_.progress.epoch),
                   [this](const io::Path& folder) { objective_->write(folder, state_.best); }));
  return done;
}

std::string TrainRun::order_hash(std::int64_t epoch, std::int64_t step_in_epoch) const {
  std::vector<std::int64_t> ids;
  const auto size = order_->epoch_size(epoch), first = step_in_epoch * settings_.global_batch;
  for (auto at = first; at < std::min(size, first + settings_.global_batch); ++at) {
    const auto sample = order_->at(epoch, at);
    ids.insert(ids.end(), {sample.shard, sample.sample});
  }
  return io::hex(io::xxh3_64({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(std::int64_t)}));
}

}  // namespace trireme::worker::stages::train
