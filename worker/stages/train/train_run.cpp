#include "worker/stages/train/train_run.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/io/hash.h"
#include "common/telemetry/metrics.h"
#include "worker/stages/train/result_folder.h"

namespace trireme::worker::stages::train {
namespace {

using std::chrono::steady_clock;
constexpr std::int64_t kMostSkippedInARow = 3;

double seconds_since(steady_clock::time_point begin) {
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

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

StepOptions step_options(const jobs::TrainSettings& settings, std::int64_t total_steps) {
  const auto& from = settings.optimizer;
  return {.slots = settings.logical_slots,
          .bf16 = settings.precision == "bf16",
          .gradient_clip_norm = from.gradient_clip_norm,
          .schedule = {from.learning_rate, from.warmup_steps, total_steps, from.schedule == "cosine"},
          .adamw = {from.beta1, from.beta2, from.epsilon, from.weight_decay}};
}

// Collective. The counts of all ranks together, on every rank; names hold no line break.
std::map<std::string, std::int64_t> sum_over(collective::Group& group,
                                             const std::map<std::string, std::int64_t>& own) {
  std::string text;
  for (const auto& [name, count] : own) text += name + "\n" + std::to_string(count) + "\n";
  const auto length = static_cast<std::int64_t>(text.size());
  const std::int64_t longest = group.all_gather(at::full({1}, length, at::kLong)).max().item<std::int64_t>();
  std::map<std::string, std::int64_t> sum;
  if (longest == 0) return sum;
  at::Tensor bytes = at::zeros({longest}, at::kByte);
  std::copy(text.begin(), text.end(), bytes.data_ptr<std::uint8_t>());
  const at::Tensor all = group.all_gather(bytes);
  for (int rank = 0; rank < group.size(); ++rank) {
    const auto* const begin = all.data_ptr<std::uint8_t>() + rank * longest;
    std::istringstream lines(std::string(begin, std::find(begin, begin + longest, 0)));
    for (std::string name, count; std::getline(lines, name) && std::getline(lines, count);)
      sum[name] += std::stoll(count);
  }
  return sum;
}

}  // namespace

TrainRun::TrainRun(const jobs::Task& task, runtime::TaskContext& context, collective::Group& group)
    : task_(task),
      context_(context),
      group_(group),
      settings_(std::get<jobs::TrainSettings>(jobs::settings_from_json("train", task.settings))),
      own_(collective::own_slots(settings_.logical_slots, group.size(), group.rank())),
      pool_(settings_.deterministic == "canonical" ? context.threads : 1,
            settings_.deterministic == "canonical" ? 1 : context.threads,
            [stop = context.stop] { return stop != nullptr && stop->stop_now(); }) {}

jobs::TaskDone TrainRun::run() {
  open_data();
  open_model();
  resume();
  open_loader();
  train();
  return result();
}

void TrainRun::open_data() {
  const auto inputs = runtime::read_inputs(task_);
  data_ = load_data_set(settings_.data, jobs::data_from_json(task_.data), inputs);
  if (settings_.evaluate_every.steps > 0)
    evaluation_data_ =
        load_data_set(settings_.evaluate_every.data, jobs::data_from_json(task_.evaluate_data), inputs);
  order_ = std::make_shared<data::SampleOrder>(data_.manifest(), static_cast<std::uint64_t>(settings_.seed));
  if (order_->epoch_size(0) == 0)
    throw Error(ErrorKind::kInvalid, "data set '" + settings_.data + "' has no sample left to train on");
  total_steps_ = steps_of(settings_, *order_);
}

void TrainRun::open_model() {
  const auto spec = jobs::model_from_json(task_.model);
  encoder_ = std::make_unique<models::DualEncoder>(spec, static_cast<std::uint64_t>(settings_.seed));
  encoder_->to(context_.device);
  encoder_->train(true);
  auto& inputs = input_options_;
  inputs.stored_images = spec.image.frozen && data_.stored_images();
  inputs.stored_texts = spec.text.frozen && data_.stored_texts();
  inputs.feature_dropout = settings_.feature_dropout;
  inputs.seed = static_cast<std::uint64_t>(settings_.seed);
  inputs.device = context_.device;
  if (inputs.stored_images) {
    inputs.image_mean_T = at::zeros({encoder_->image_tower_width()}, at::kFloat);
    if (settings_.standardize_features) {
      const auto standardization = image_standardization(data_);
      inputs.image_mean_T = standardization.mean_T;
      encoder_->set_image_standardization(standardization.mean_T, standardization.inverse_std_T);
    }
  }
  model_ = std::make_unique<DualEncoderModel>(*encoder_);
  step_ = std::make_unique<TrainingStep>(*model_, group_, pool_, step_options(settings_, total_steps_));
  if (evaluation_data_)
    evaluator_ = std::make_unique<Evaluator>(*evaluation_data_, *encoder_, group_, pool_, context_.device);
}

void TrainRun::resume() {
  progress_.seed = static_cast<std::uint64_t>(settings_.seed);
  progress_.manifest_hash = order_->manifest_hash();
  if (!task_.resume_from.empty()) {
    TrainState state = read_state(task_.resume_from);
    if (state.progress.manifest_hash != progress_.manifest_hash || state.progress.seed != progress_.seed)
      throw Error(ErrorKind::kDamaged,
                  "checkpoint " + task_.resume_from + " was made with other data (manifest " +
                      state.progress.manifest_hash + ", now " + progress_.manifest_hash + ")",
                  "restore the data, or give the job another output folder to start afresh");
    load_model_tensors(*encoder_, state.model);
    step_->optimizer().load_state(state.optimizer);
    progress_ = state.progress;
    best_ = std::move(state.best);
    saved_step_ = progress_.step;
    if (leads()) log_info("train", "resumed at step " + std::to_string(progress_.step));
  }
  if (!leads()) return;
  io::make_folders(task_.stage_folder);
  log_ = std::make_unique<StepLog>(io::Path(task_.stage_folder) / "log.jsonl", progress_.step);
  writer_ = std::make_unique<CheckpointWriter>(task_.checkpoint_folder, context_.incarnation, group_.size(),
                                               context_.checkpoint_written, context_.metrics);
}

void TrainRun::open_loader() {
  std::vector<std::shared_ptr<const data::ShardReader>> readers;
  std::vector<std::string> hashes;
  for (const auto& shard : data_.shards) {
    readers.push_back(shard.reader);
    hashes.push_back(shard.ref.sha256);
  }
  const auto preprocess = encoder_->image_preprocess();
  data::LoaderOptions options;
  options.global_batch = settings_.global_batch;
  options.logical_slots = settings_.logical_slots;
  options.first_slot = own_.first;
  options.last_slot = own_.last;
  options.seed = static_cast<std::uint64_t>(settings_.seed);
  options.augment = settings_.augment;
  options.image_px = preprocess.image_px;
  options.normalization = {preprocess.mean, preprocess.std};
  options.images = !input_options_.stored_images;
  options.threads = context_.threads;
  loader_ =
      std::make_unique<data::BatchLoader>(readers, hashes, order_, data_.classes, data_.templates, options);
  const Place place = place_of(*order_, settings_.global_batch, progress_.step);
  loader_->seek(place.epoch, place.step_in_epoch);
}

void TrainRun::train() {
  while (progress_.step < total_steps_) {
    if (all_stop()) stop_after_checkpoint();
    if (context_.stop != nullptr) context_.stop->throw_if_stopped();
    const auto begin = steady_clock::now();
    StepRow row = one_step();
    finish_step(row);
    row.seconds = seconds_since(begin);
    if (leads()) report(row);
    fault_point("train.after_step_before_ack");
    checkpoint_if_due();
  }
}

StepRow TrainRun::one_step() {
  auto batch = loader_->next();
  std::vector<SlotInput> inputs(batch.slots.size());
  pool_.for_each(own_.size(), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    inputs[at] =
        make_slot_input(data_, *encoder_, batch.slots[at], input_options_, progress_.step, own_.first + i);
  });
  const StepResult done = step_->run(inputs, progress_.step);
  for (const auto& [reason, count] : batch.bad) bad_[reason] += count;
  StepRow row{.step = progress_.step + 1,
              .epoch = batch.epoch,
              .live = done.live,
              .loss = done.loss,
              .learning_rate = done.learning_rate,
              .logit_scale = done.logit_scale,
              .gradient_norm = done.gradient_norm,
              .data_wait_seconds = batch.wait_seconds,
              .skipped = done.too_few || done.non_finite};
  if (leads()) row.order_hash = order_hash(batch.epoch, batch.step_in_epoch);
  skipped_in_a_row_ = done.non_finite ? skipped_in_a_row_ + 1 : 0;
  skipped_ += row.skipped ? 1 : 0;
  if (skipped_in_a_row_ >= kMostSkippedInARow)
    throw Error(ErrorKind::kInvalid,
                "loss or gradient of " + std::to_string(kMostSkippedInARow) + " steps in a row up to step " +
                    std::to_string(row.step) + " was not finite",
                "lower optimizer.learning_rate, or set optimizer.gradient_clip_norm");
  if (context_.metrics != nullptr && leads()) {
    if (row.skipped) context_.metrics->count("trireme_train_steps_skipped_total");
    if (done.non_finite)
      context_.metrics->count("trireme_train_nonfinite_total", 1,
                              {{"where", std::isfinite(done.loss) ? "gradient" : "loss"}});
    context_.metrics->observe("trireme_train_step_duration_seconds", batch.wait_seconds,
                              {{"phase", "data_wait"}});
  }
  return row;
}

void TrainRun::finish_step(StepRow& row) {
  ++progress_.step;
  progress_.epoch = row.epoch;
  progress_.samples += row.live;
  row.samples = progress_.samples;
  const auto every = settings_.evaluate_every.steps;
  if (evaluator_ && (progress_.step % every == 0 || progress_.step == total_steps_)) evaluate(row);
}

void TrainRun::evaluate(StepRow& row) {
  const auto metrics = evaluator_->run();
  row.evaluation = evaluation::to_json(metrics);
  const double value = evaluation::metric(metrics, settings_.evaluate_every.metric);
  if (progress_.best_step >= 0 && !(value > progress_.best_metric)) return;
  progress_.best_step = progress_.step;
  progress_.best_metric = value;
  best_ = model_tensors(*encoder_);
}

// Rate and ETA shown to people look back over about ten steps: the last batch of an epoch is short.
constexpr double kRateMemory = 0.9;

void TrainRun::report(const StepRow& row) {
  log_->append(row);
  trained_seconds_ += row.seconds;
  jobs::StepReport message;
  message.step = row.step;
  message.steps = total_steps_;
  message.epoch = row.epoch;
  message.samples = row.samples;
  message.loss = row.loss;
  message.learning_rate = row.learning_rate;
  message.logit_scale = row.logit_scale;
  message.gradient_norm = row.gradient_norm;
  recent_samples_ = kRateMemory * recent_samples_ + static_cast<double>(row.live);
  recent_seconds_ = kRateMemory * recent_seconds_ + row.seconds;
  message.samples_per_second = recent_samples_ / std::max(recent_seconds_, 1e-9);
  message.evaluation = row.evaluation;
  if (context_.report_step) context_.report_step(message);
  if (context_.progress) context_.progress(row.step, total_steps_);
  if (context_.metrics == nullptr) return;
  auto& metrics = *context_.metrics;
  metrics.count("trireme_train_steps_total");
  metrics.count("trireme_train_samples_total", static_cast<double>(row.live));
  metrics.observe("trireme_train_step_duration_seconds", row.seconds, {{"phase", "total"}});
  metrics.set("trireme_train_loss", row.loss);
  metrics.set("trireme_train_grad_norm", row.gradient_norm);
  metrics.set("trireme_train_logit_scale", row.logit_scale);
  metrics.set("trireme_train_learning_rate", row.learning_rate);
}

// Every rank holds the same state, so rank 0 saves and decides alone; only stopping must be agreed on.
void TrainRun::checkpoint_if_due() {
  if (!leads()) return;
  const bool best = progress_.best_step == progress_.step;
  if (best || progress_.step == total_steps_) writer_->wait();
  const bool by_steps =
      task_.checkpoint_every_steps > 0 && progress_.step % task_.checkpoint_every_steps == 0;
  const bool by_time =
      task_.checkpoint_every_seconds > 0 && seconds_since(last_save_) >= task_.checkpoint_every_seconds;
  if (best || by_steps || by_time || progress_.step == total_steps_) save(best);
}

void TrainRun::save(bool best) {
  const auto begin = steady_clock::now();
  TrainState state{.progress = progress_, .model = model_tensors(*encoder_), .best = best_};
  for (const auto& [name, tensor] : step_->optimizer().state())
    state.optimizer.emplace_back(name, tensor.to(at::kCPU, tensor.scalar_type(), false, /*copy=*/true));
  last_save_ = begin;
  if (writer_->start(std::move(state), best, seconds_since(begin))) saved_step_ = progress_.step;
}

bool TrainRun::all_stop() {
  const bool asked = context_.stop != nullptr && context_.stop->checkpoint_first();
  if (group_.size() == 1) return asked;
  at::Tensor flag = at::full({1}, asked ? 1 : 0, at::kLong);
  return group_.all_gather(flag).sum().item<std::int64_t>() > 0;
}

void TrainRun::stop_after_checkpoint() {
  if (leads() && saved_step_ != progress_.step) {
    writer_->wait();
    save(progress_.best_step == progress_.step);
  }
  if (leads()) writer_->wait();
  throw Error(ErrorKind::kCancelled,
              "training stopped after step " + std::to_string(progress_.step) + " with a checkpoint");
}

jobs::TaskDone TrainRun::result() {
  jobs::TaskDone done;
  done.counts["steps"] = total_steps_;
  done.counts["samples"] = progress_.samples;
  done.counts["skipped_steps"] = skipped_;
  for (const auto& [reason, count] : sum_over(group_, bad_)) done.counts["bad." + reason] = count;
  if (!leads()) return done;
  writer_->wait();
  if (!best_.empty()) load_model_tensors(*encoder_, best_);
  done.summary = to_json(progress_, group_.size());
  const auto log = (io::Path(task_.stage_folder) / "log.jsonl").string();
  done.outputs.push_back(write_result(task_, *encoder_, log, "{\"address\":\"" + task_.address + "\"}"));
  return done;
}

std::string TrainRun::order_hash(std::int64_t epoch, std::int64_t step_in_epoch) const {
  std::vector<std::int64_t> ids;
  const auto size = order_->epoch_size(epoch), first = step_in_epoch * settings_.global_batch;
  for (auto at = first; at < std::min(size, first + settings_.global_batch); ++at) {
    const auto sample = order_->at(epoch, at);
    ids.push_back(sample.shard);
    ids.push_back(sample.sample);
  }
  return io::hex(io::xxh3_64({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(std::int64_t)}));
}

}  // namespace trireme::worker::stages::train
