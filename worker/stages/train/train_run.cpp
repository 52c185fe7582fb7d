#include "worker/stages/train/train_run.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/base/processor_time.h"
#include "common/io/hash.h"
#include "common/telemetry/metrics.h"
#include "jobs/specification/stages/own_caption.h"
#include "worker/stages/train/captioner_model.h"
#include "worker/stages/train/count_sum.h"
#include "worker/stages/train/evaluator.h"
#include "worker/stages/train/result_folder.h"
#include "worker/stages/train/saved_heads.h"
#include "worker/stages/train/step_options.h"
#include "worker/stages/train/swap_captions.h"
#include "worker/stages/train/token_loss.h"
#include "worker/stages/train/utilization.h"

namespace trireme::worker::stages::train {
namespace {

using std::chrono::steady_clock;
constexpr std::int64_t kUnsettled = -2;  // below every step

at::Tensor on_host(const at::Tensor& tensor) {
  return tensor.to(at::kCPU, tensor.scalar_type(), false, /*copy=*/true);
}

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

// For its lifetime the model has the average of the weights, where there is one.
class AveragedWeights {
 public:
  AveragedWeights(optim::WeightAverage* average, TrainableModel& model) : average_(average), model_(model) {
    exchange();
  }
  ~AveragedWeights() { exchange(); }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  void exchange() {
    if (average_ == nullptr) return;
    average_->exchange();
    model_.updated();
  }
  optim::WeightAverage* average_;
  TrainableModel& model_;
};

}  // namespace

TrainRun::TrainRun(const jobs::Task& task, runtime::TaskContext& context, collective::Group& group)
    : task_(task),
      context_(context),
      group_(group),
      settings_(std::get<jobs::TrainSettings>(jobs::settings_from_json("train", task.settings))),
      guard_(settings_.guard),
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
  swap_captions(data_, settings_.swap_captions);
  resolve_vocabularies(settings_.concepts, inputs);
  input_options_.texts = settings_.loss.texts;
  input_options_.labels = settings_.loss.positives == "label";
  input_options_.concepts = concept_sources(settings_.concepts);
  const double begin = thread_seconds();
  join_concepts(data_, settings_.concepts, inputs, input_options_.concepts);
  sidecars_.any = !settings_.concepts.heads.empty() ||
                  (settings_.loss.texts != "raw" && !jobs::named_stage(settings_.synthetic_caption).empty());
  sidecars_.opened_seconds = data_.sidecar_seconds + thread_seconds() - begin;
  if (settings_.loss.texts != "raw") find_synthetic_captions();
  if (input_options_.labels) require_labels(data_);
  require_concepts(data_, input_options_.concepts);
  if (settings_.concepts.sampling == "square_root") sample_by_square_root(data_, input_options_.concepts);
  if (settings_.evaluate_every.steps > 0)
    evaluation_data_ =
        load_data_set(settings_.evaluate_every.data, jobs::data_from_json(task_.evaluate_data), inputs);
  order_ = std::make_shared<data::SampleOrder>(data_.manifest(), static_cast<std::uint64_t>(settings_.seed));
  if (order_->epoch_size(0) == 0)
    throw Error(ErrorKind::kInvalid, "data set '" + settings_.data + "' has no sample left to train on");
  total_steps_ = steps_of(settings_, *order_);
  // As many steps as the last one's epoch has: the whole of it, where training ends with an epoch.
  const Place last = place_of(*order_, settings_.global_batch, total_steps_ - 1);
  observed_from_ =
      total_steps_ - data::steps_per_epoch(order_->epoch_size(last.epoch), settings_.global_batch);
}

// The samples' own, in a field of theirs, or in the sidecars of a stage; those were joined when the data was
// loaded.
void TrainRun::find_synthetic_captions() {
  if (const auto own = jobs::own_caption(settings_.synthetic_caption)) {
    input_options_.own_caption = *own - 1;
    return require_own_caption(data_, input_options_.own_caption);
  }
  const std::string stage = jobs::named_stage(settings_.synthetic_caption);
  if (stage.empty()) return require_synthetic_captions(data_, settings_.synthetic_caption);
  for (const auto& shard : data_.shards)
    if (!shard.kept.empty() && !shard.captions)
      throw Error(ErrorKind::kInternal,
                  "there are no captions of stage '" + stage + "' for shard " + shard.ref.path);
}

void TrainRun::open_model() {
  const auto spec = jobs::model_from_json(task_.model);
  encoder_ = std::make_unique<models::DualEncoder>(spec, static_cast<std::uint64_t>(settings_.seed));
  encoder_->to(context_.device);
  auto& inputs = input_options_;
  const bool captioning = settings_.objective == "captioning";  // needs more of an image than its feature
  inputs.stored_images = !captioning && spec.image.frozen && data_.stored_images();
  inputs.stored_texts = !captioning && spec.text.frozen && data_.stored_texts() &&
                        (settings_.loss.texts != "caption" || input_options_.own_caption >= 0);
  inputs.feature_dropout = settings_.feature_dropout;
  inputs.seed = static_cast<std::uint64_t>(settings_.seed);
  inputs.device = context_.device;
  if (inputs.stored_images) {
    inputs.image_mean_T = at::zeros({encoder_->image_tower_width()}, at::kFloat);
    if (encoder_->image_mean().defined()) {  // of the weights that it starts from
      inputs.image_mean_T = encoder_->image_mean().cpu();
    } else if (settings_.standardize_features) {
      const auto standardization = image_standardization(data_);
      inputs.image_mean_T = standardization.mean_T;
      encoder_->set_image_standardization(standardization.mean_T, standardization.inverse_std_T);
    }
  }
  if (captioning)
    model_ = std::make_unique<CaptionerModel>(*encoder_, settings_.loss.label_smoothing);
  else
    model_ = std::make_unique<DualEncoderModel>(*encoder_, encoder_options(settings_, spec, context_.device));
  step_ = std::make_unique<TrainingStep>(*model_, group_, pool_, step_options(settings_, spec, total_steps_));
  signals_ = std::make_unique<SignalTally>(SignalNames(settings_.loss.texts, settings_.loss.any_gate()));
  pair_flops_ = pair_flops(*encoder_, inputs.stored_images, inputs.stored_texts);
  if (context_.metrics != nullptr && leads())
    matmul_rate_ =
        matmul_rate(context_.device, settings_.precision == "bf16") *
        (context_.device == "cpu" ? context_.threads / static_cast<double>(at::get_num_threads()) : 1);
  if (evaluation_data_) open_evaluation();
}

void TrainRun::open_evaluation() {
  const auto with = [this](auto evaluator) { evaluate_ = [evaluator] { return evaluator->run(); }; };
  if (settings_.objective == "captioning")
    with(std::make_shared<TokenLoss>(*evaluation_data_, *encoder_, group_, pool_, context_.device));
  else
    with(std::make_shared<Evaluator>(*evaluation_data_, *encoder_, group_, pool_, context_.device));
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
    restore(state);
    if (settings_.loss.gates.reset_h_on_resume) {
      const double h = settings_.loss.gates.h_init;
      step_->set_gates({h, h, h});
    }
    progress_ = state.progress;
    best_ = std::move(state.best);
    resumed_step_ = progress_.step;
    if (leads()) log_info("train", "resumed at step " + std::to_string(progress_.step));
  }
  if (!leads()) return;
  io::make_folders(task_.stage_folder);
  log_ = std::make_unique<StepLog>(io::Path(task_.stage_folder) / "log.jsonl", progress_.step);
  writer_ = std::make_unique<CheckpointWriter>(task_.checkpoint_folder, context_.incarnation, group_.size(),
                                               context_.checkpoint_written, context_.metrics);
}

void TrainRun::restore(const TrainState& state) {
  load_model_tensors(*encoder_, state.model);
  model_->load_extra_state(state.training);
  step_->optimizer().load_state(state.optimizer);
  if (auto* average = step_->average()) average->load_state(state.average);
  if (settings_.loss.any_gate()) step_->set_gates(losses::gate_state_from(state.training));
  signals_->load(state.training);
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
  options.filter = preprocess.bilinear ? data::Filter::kBilinear : data::Filter::kBicubic;
  options.images = !input_options_.stored_images;
  options.captions = settings_.loss.texts != "caption";
  options.captions_of = data_.texts_of;
  options.own_caption = input_options_.own_caption;
  if (settings_.loss.texts != "raw") options.synthetic_caption = settings_.synthetic_caption;
  if (settings_.loss.texts != "raw" && !jobs::named_stage(settings_.synthetic_caption).empty())
    for (const auto& shard : data_.shards) options.written_captions.push_back(shard.captions);
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
    const double processor = process_seconds();
    StepRow row = one_step();
    sidecars_.all_seconds += process_seconds() - processor;
    ++sidecars_.steps;
    finish_step(row);
    row.seconds = seconds_since(begin);
    if (leads()) report(row);
    fault_point("train.after_step_before_ack");
    checkpoint_if_due();
  }
  if (leads() && sidecars_.any && sidecars_.steps > 0) log_info("train", sidecars_.text());
}

StepRow TrainRun::one_step() {
  auto batch = loader_->next();
  std::vector<SlotInput> inputs(batch.slots.size());
  std::vector<std::map<std::string, std::int64_t>> counts(batch.slots.size());
  pool_.for_each(own_.size(), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    inputs[at] = make_slot_input(data_, *encoder_, batch.slots[at], input_options_, progress_.step,
                                 own_.first + i, counts[at]);
  });
  const StepResult done = step_->run(inputs, progress_.step, progress_.step >= observed_from_);
  tally(batch, inputs, done);
  double from_sidecars = batch.sidecar_seconds;
  for (const auto& input : inputs) from_sidecars += input.target_seconds;
  sidecars_.step_seconds += from_sidecars;
  if (context_.metrics != nullptr && leads() && sidecars_.any)
    context_.metrics->observe("trireme_train_step_duration_seconds", from_sidecars, {{"phase", "sidecars"}});
  for (const auto& [reason, count] : batch.bad) counts_["bad." + reason] += count;
  for (const auto& slot : counts)
    for (const auto& [name, count] : slot) counts_["concepts." + name] += count;
  StepRow row = row_of(done, loss_parts(settings_));
  row.step = progress_.step + 1;
  row.epoch = batch.epoch;
  row.data_wait_seconds = batch.wait_seconds;
  if (leads()) row.order_hash = order_hash(batch.epoch, batch.step_in_epoch);
  skipped_ += row.skipped ? 1 : 0;
  if (leads()) count_guarded(done);
  if (guard_.after(row.step, done.non_finite, progress_.rollbacks) == GuardAction::kRollBack) roll_back(row);
  return row;
}

// Collective. Rows went dead in `inputs` for reasons that the batch does not know of.
void TrainRun::tally(const data::BatchLoader::Step& batch, const std::vector<SlotInput>& inputs,
                     const StepResult& done) {
  if (done.signals_Kb.empty() || done.too_few || done.non_finite) return;
  if (!truth_) truth_ = std::make_unique<TruthTable>(data_);
  std::vector<std::vector<Truth>> truth(batch.slots.size());
  std::vector<at::Tensor> live;
  for (std::size_t slot = 0; slot < batch.slots.size(); ++slot) {
    for (const auto& sample : batch.slots[slot].samples) truth[slot].push_back(truth_->of(sample));
    live.push_back(inputs[slot].live_B);
  }
  signals_->add(done.signals_Kb, live, truth, group_);
}

void TrainRun::count_guarded(const StepResult& done) {
  if (context_.metrics == nullptr) return;
  if (done.too_few || done.non_finite) context_.metrics->count("trireme_train_steps_skipped_total");
  if (done.non_finite)
    context_.metrics->count("trireme_train_nonfinite_total", 1,
                            {{"where", std::isfinite(done.loss) ? "gradient" : "loss"}});
}

// Collective: gang rank 0 knows what the coordinator has committed.
void TrainRun::roll_back(StepRow& row) {
  if (leads()) writer_->wait();
  const std::int64_t step = from_leader(leads() ? committed_step() : -1);
  if (step < 0)
    throw Error(ErrorKind::kInvalid,
                "loss or gradient of step " + std::to_string(row.step) +
                    " was not finite, and no checkpoint has been committed to go back to",
                "set checkpoint.every_steps, or guard.on_non_finite to \"skip\"");
  restore(read_state(step == resumed_step_ ? task_.resume_from
                                           : find_checkpoint(task_.checkpoint_folder, step, task_.address)));
  row.rolled_back_to = step;
  ++progress_.rollbacks;
  save_now_ = true;  // so that a restart does not go through it again
  if (!leads()) return;
  log_warning("train", "step " + std::to_string(row.step) + " was not finite: weights of step " +
                           std::to_string(step) + " again, the batches since are left out");
  if (context_.metrics != nullptr) context_.metrics->count("trireme_train_rollbacks_total");
}

void TrainRun::finish_step(StepRow& row) {
  ++progress_.step;
  progress_.epoch = row.epoch;
  progress_.samples += row.live;
  row.samples = progress_.samples;
  const auto every = settings_.evaluate_every.steps;
  if (evaluate_ && (progress_.step % every == 0 || progress_.step == total_steps_)) evaluate(row);
}

void TrainRun::evaluate(StepRow& row) {
  const AveragedWeights averaged(step_->average(), *model_);
  const auto metrics = evaluate_();
  row.evaluation = evaluation::to_json(metrics);
  const double value = evaluation::metric(metrics, settings_.evaluate_every.metric);
  const bool lowest = settings_.evaluate_every.metric == "token_loss";
  const bool better = lowest ? value < progress_.best_metric : value > progress_.best_metric;
  if (progress_.best_step >= 0 && !better) return;
  progress_.best_step = progress_.step;
  progress_.best_metric = value;
  best_ = model_tensors(*encoder_);
  for (const auto& [name, tensor] : heads_of(model_->extra_state()))
    best_.emplace_back(name, on_host(tensor));
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
  metrics.observe("trireme_train_step_duration_seconds", row.data_wait_seconds, {{"phase", "data_wait"}});
  metrics.observe("trireme_train_step_duration_seconds", row.seconds, {{"phase", "total"}});
  metrics.set("trireme_train_loss", row.loss);
  metrics.set("trireme_train_grad_norm", row.gradient_norm);
  metrics.set("trireme_train_logit_scale", row.logit_scale);
  metrics.set("trireme_train_learning_rate", row.learning_rate);
  for (const auto& [part, value] : row.parts) metrics.set("trireme_train_loss_part", value, {{"part", part}});
  for (const auto& [gate, value] : row.gates) metrics.set("trireme_train_gate", value, {{"gate", gate}});
  const double flops = pair_flops_ * message.samples_per_second;
  metrics.set("trireme_train_model_flops_per_second", flops);
  metrics.set("trireme_train_mfu_ratio", flops / (matmul_rate_ * group_.size()));
}

// Every rank holds the same state, so rank 0 saves and decides alone; only stopping must be agreed on.
void TrainRun::checkpoint_if_due() {
  if (!leads()) return;
  const bool best = progress_.best_step == progress_.step;
  if (best || save_now_ || progress_.step == total_steps_) writer_->wait();
  const bool by_steps =
      task_.checkpoint_every_steps > 0 && progress_.step % task_.checkpoint_every_steps == 0;
  const bool by_time =
      task_.checkpoint_every_seconds > 0 && seconds_since(last_save_) >= task_.checkpoint_every_seconds;
  if (best || by_steps || by_time || save_now_ || progress_.step == total_steps_) save(best);
  save_now_ = false;
}

void TrainRun::save(bool best) {
  const auto begin = steady_clock::now();
  TrainState state{.progress = progress_, .model = model_tensors(*encoder_), .best = best_};
  for (const auto& [name, tensor] : step_->optimizer().state())
    state.optimizer.emplace_back(name, on_host(tensor));
  if (const auto* average = step_->average())
    for (const auto& [name, tensor] : average->state()) state.average.emplace_back(name, on_host(tensor));
  for (const auto& [name, tensor] : model_->extra_state()) state.training.emplace_back(name, on_host(tensor));
  if (settings_.loss.any_gate())
    for (auto& named : losses::tensors_of(step_->gates())) state.training.push_back(std::move(named));
  if (signals_->samples() > 0)
    for (auto& named : signals_->tensors()) state.training.push_back(std::move(named));
  last_save_ = begin;
  writer_->start(std::move(state), best, seconds_since(begin));
}

bool TrainRun::all_stop() {
  const bool asked = context_.stop != nullptr && context_.stop->checkpoint_first();
  if (group_.size() == 1) return asked;
  at::Tensor flag = at::full({1}, asked ? 1 : 0, at::kLong);
  return group_.all_gather(flag).sum().item<std::int64_t>() > 0;
}

std::int64_t TrainRun::from_leader(std::int64_t value) {
  if (group_.size() == 1) return value;
  return group_.all_gather(at::full({1}, value, at::kLong))[0].item<std::int64_t>();
}

std::int64_t TrainRun::committed_step() const {
  return std::max(resumed_step_,
                  context_.last_committed_checkpoint ? context_.last_committed_checkpoint() : -1);
}

// One step's worth of waiting for what the last checkpoint becomes, so that no member waits too long for us.
std::int64_t TrainRun::settle_last_checkpoint() {
  const auto until = steady_clock::now() + std::chrono::seconds(1);
  while (committed_step() < progress_.step && steady_clock::now() < until) {
    if (!writer_->busy() && writer_->last_written() != progress_.step) {
      if (std::exchange(tried_to_stop_, true)) return committed_step();  // it could not be written
      save(progress_.best_step == progress_.step);
    }
    context_.stop->throw_if_stopped();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return committed_step() < progress_.step ? kUnsettled : committed_step();
}

// Collective: all leave together, and only once the ledger holds the checkpoint. A member that left first
// would end the gang's lease, and with it what gang rank 0 has to say about the checkpoint.
void TrainRun::stop_after_checkpoint() {
  std::int64_t kept = progress_.step > 0 ? kUnsettled : 0;
  while (kept == kUnsettled) kept = from_leader(leads() ? settle_last_checkpoint() : 0);
  const std::string after = "training stopped after step " + std::to_string(progress_.step);
  if (kept == progress_.step)
    throw Error(ErrorKind::kCancelled, after + (kept > 0 ? " with a checkpoint" : ""));
  throw Error(ErrorKind::kCancelled,
              after + ", and its checkpoint could not be written: " +
                  (kept < 0 ? "there is none to go on from"
                            : "the newest to go on from is that of step " + std::to_string(kept)));
}

jobs::TaskDone TrainRun::result() {
  jobs::TaskDone done;
  done.counts["steps"] = total_steps_;
  done.counts["samples"] = progress_.samples;
  done.counts["skipped_steps"] = skipped_;
  done.counts["rollbacks"] = progress_.rollbacks;
  for (const auto& [name, count] : sum_over(group_, counts_)) done.counts[name] = count;
  if (!leads()) return done;
  writer_->wait();
  const AveragedWeights averaged(step_->average(), *model_);
  if (!best_.empty()) load_model_tensors(*encoder_, best_);
  const auto heads = heads_of(best_);  // none in what was written before heads were kept
  done.summary = to_json(progress_, group_.size());
  const auto log = (io::Path(task_.stage_folder) / "log.jsonl").string();
  done.outputs.push_back(write_result(
      task_, *encoder_, saved_heads(settings_.concepts, heads.empty() ? model_->parameters() : heads), log,
      signals_->to_json(progress_.epoch), nlohmann::json{{"address", task_.address}}.dump()));
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
