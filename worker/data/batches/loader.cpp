#include "worker/data/batches/loader.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/Functions.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "common/base/error.h"
#include "common/base/processor_time.h"
#include "common/base/random.h"
#include "common/io/machine/in_hand.h"
#include "worker/data/batches/image_batch.h"
#include "worker/data/batches/torch_threads.h"
#include "worker/data/images/resize.h"
#include "worker/data/shards/sample_fields.h"

namespace trireme::worker::data {
namespace {

constexpr std::int64_t kRowsAtOnce = 2;  // rows a thread takes at a time
constexpr std::string_view kNoCaption = "no_caption", kNoSyntheticCaption = "no_synthetic_caption";

std::size_t index_of(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

// One step on its way. `next_row` and `done_rows` belong to the loader's mutex; each row is written by one
// thread.
struct Work {
  std::int64_t epoch = 0, step = 0, rows = 0;
  std::int64_t next_row = 0, done_rows = 0;
  std::vector<SlotBatch> slots;
  std::vector<std::string> faults;  // per row
  std::atomic<double> sidecar_seconds = 0;
  std::exception_ptr error;
};

// Image tensors that nobody else holds any more are used again: fresh pages cost as much as a resize.
class TensorPool {
 public:
  explicit TensorPool(bool bytes = false) : bytes_(bytes) {}
  at::Tensor take(std::int64_t rows, std::int64_t px) {
    for (at::Tensor& tensor : tensors_) {
      const bool free = tensor.use_count() == 1 && tensor.storage().use_count() == 1;  // no view either
      if (free && tensor.size(0) == rows) return tensor;
    }
    const at::Tensor fresh =
        bytes_ ? at::empty({rows, px, px, 3}, pinned_bytes()) : at::empty({rows, 3, px, px}, at::kFloat);
    if (tensors_.size() < kMost) tensors_.push_back(fresh);
    return fresh;
  }

 private:
  static at::TensorOptions pinned_bytes() {  // pinned where there is something to pin it for
    return at::TensorOptions(at::kByte).pinned_memory(at::accelerator::getAccelerator().has_value());
  }
  static constexpr std::size_t kMost = 1024;
  bool bytes_;
  std::vector<at::Tensor> tensors_;
};

}  // namespace

struct BatchLoader::State {
  std::vector<std::shared_ptr<const ShardReader>> readers;
  std::vector<std::string> shard_sha256;
  std::shared_ptr<const SampleOrder> order;
  std::vector<std::string> classes, templates;
  LoaderOptions options;
  std::int64_t slot_rows = 0;

  std::mutex mutex;
  std::condition_variable work_ready, step_ready;
  std::deque<std::shared_ptr<Work>> ahead;  // oldest first
  bool leaving = false;
  std::int64_t epoch = 0, step = 0;  // of the next step to plan; owned by the calling thread
  TensorPool tensors;                // likewise
  std::vector<std::thread> threads;

  std::uint64_t sample_key(const SamplePosition& position) const {
    return name_key(shard_sha256[index_of(position.shard)]) + static_cast<std::uint64_t>(position.sample);
  }

  // Whose captions the sample is shown with.
  const SamplePosition& texts_of(const SamplePosition& position) const {
    return options.captions_of.empty()
               ? position
               : options.captions_of[index_of(position.shard)][index_of(position.sample)];
  }

  // Caption of the row, drawn; "" or the reason why there is none.
  std::string fill_caption(const SamplePosition& position, std::int64_t at_epoch, std::int64_t row,
                           SlotBatch& slot) const {
    const SamplePosition& owner = texts_of(position);
    auto captions = captions_of(*readers[index_of(owner.shard)], owner.sample, classes, templates);
    const auto count = static_cast<std::int64_t>(captions.size());
    const bool spare_one = options.own_caption >= 0 && options.own_caption < count;
    if (count - (spare_one ? 1 : 0) < 1) return std::string(kNoCaption);
    RandomStream random(options.seed, RandomPurpose::kCaptionChoice, sample_key(position),
                        static_cast<std::uint32_t>(at_epoch));
    std::uint64_t choice = random.below(static_cast<std::uint64_t>(count - (spare_one ? 1 : 0)));
    if (spare_one && choice >= static_cast<std::uint64_t>(options.own_caption)) ++choice;
    slot.caption_choice[index_of(row)] = static_cast<std::int64_t>(choice);
    slot.captions[index_of(row)] = std::move(captions[choice]);
    return "";
  }

  std::string synthetic_of(const SamplePosition& position) const {
    const ShardReader& reader = *readers[index_of(position.shard)];
    if (options.own_caption >= 0) {
      auto captions = captions_of(reader, position.sample, classes, templates);
      const auto at = index_of(options.own_caption);
      return at < captions.size() ? std::move(captions[at]) : "";
    }
    return options.written_captions.empty()
               ? text_field(reader.json(position.sample), options.synthetic_caption)
               : options.written_captions[index_of(position.shard)]->caption(position.sample);
  }

  // Synthetic caption of the row; "" or the reason why there is none.
  std::string fill_synthetic(const SamplePosition& position, std::int64_t row, SlotBatch& slot) const {
    std::string text = synthetic_of(position);
    if (text.empty()) return std::string(kNoSyntheticCaption);
    slot.synthetic_captions[index_of(row)] = std::move(text);
    return "";
  }

  Image resized(const Image& image) const {
    return resize_image(image, options.image_px, options.image_px, options.filter);
  }

  // Pixels of the row; "" or the reason why the picture is bad.
  std::string fill_image(const SamplePosition& position, std::int64_t at_epoch, std::int64_t row,
                         SlotBatch& slot) const {
    thread_local std::string storage;
    thread_local Image image;
    const ShardReader& reader = *readers[index_of(position.shard)];
    const std::string_view bytes = reader.image_bytes(position.sample, storage);
    const PictureOptions decoding = picture_options(reader);
    ImageInfo info;
    std::string fault = image_info(bytes, info, decoding);
    if (!fault.empty()) return fault;
    RandomStream random(options.seed, RandomPurpose::kAugment, sample_key(position),
                        static_cast<std::uint32_t>(at_epoch));
    const jobs::AugmentSpec& augment = options.augment;
    const CropBox box = random_crop(info.width, info.height, augment.scale_min, augment.scale_max,
                                    augment.aspect_min, augment.aspect_max, random);
    const bool mirror = augment.flip && random.uniform() < 0.5;
    const std::int64_t least = options.scaled_decode ? options.image_px : 0;
    fault = decode_image(bytes, {box.x, box.y, box.width, box.height, least, decoding}, image);
    if (!fault.empty()) return fault;
    const std::int64_t numbers = 3 * options.image_px * options.image_px;
    if (options.bytes) {
      const Image small = resized(image);
      std::copy_n(small.rgb.data(), numbers, slot.bytes_BHWC.data_ptr<std::uint8_t>() + row * numbers);
      slot.mirrored[index_of(row)] = mirror ? 1 : 0;
    } else {
      resize_to(image, options.image_px, mirror, options.normalization,
                slot.image_BCHW.data_ptr<float>() + row * numbers, options.filter);
    }
    return fault;
  }

  void blank_image(std::int64_t row, SlotBatch& slot) const {
    if (!options.images || options.bytes) return;  // of bytes, dead rows are zeroed on the device
    const std::int64_t floats = 3 * options.image_px * options.image_px;
    std::fill_n(slot.image_BCHW.data_ptr<float>() + row * floats, floats, 0.0F);
  }

  void fill_row(Work& work, std::int64_t index) const {
    const io::SampleScope scope;
    SlotBatch& slot = work.slots[index_of(index / slot_rows)];
    const std::int64_t row = index % slot_rows;
    const SamplePosition position = slot.samples[index_of(row)];
    std::string fault;
    bool live = position.sample >= 0;
    if (live && options.captions) fault = fill_caption(position, work.epoch, row, slot);
    const bool synthetic = !options.synthetic_caption.empty();
    if (live && fault.empty() && synthetic) {
      const double begin = options.written_captions.empty() ? 0 : thread_seconds();
      fault = fill_synthetic(position, row, slot);
      if (!options.written_captions.empty()) work.sidecar_seconds += thread_seconds() - begin;
    }
    if (live && fault.empty() && options.images) fault = fill_image(position, work.epoch, row, slot);
    live = live && fault.empty();
    if (!live) blank_image(row, slot);
    if (!live) slot.captions[index_of(row)].clear();
    if (!live && synthetic) slot.synthetic_captions[index_of(row)].clear();
    slot.live[index_of(row)] = live ? 1 : 0;
    work.faults[index_of(index)] = std::move(fault);
  }

  // The oldest step with rows to do.
  std::shared_ptr<Work> find_work() const {
    for (const auto& work : ahead) {
      if (work->next_row < work->rows) return work;
    }
    return nullptr;
  }

  void run_thread() {
    std::unique_lock lock(mutex);
    for (;;) {
      std::shared_ptr<Work> work;
      work_ready.wait(lock, [&] { return leaving || (work = find_work()) != nullptr; });
      if (leaving) return;
      const std::int64_t first = work->next_row;
      const std::int64_t last = std::min(first + kRowsAtOnce, work->rows);
      work->next_row = last;
      lock.unlock();
      std::exception_ptr error;
      try {
        for (std::int64_t row = first; row < last; ++row) fill_row(*work, row);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error && !work->error) work->error = error;
      work->done_rows += last - first;
      if (work->done_rows == work->rows) step_ready.notify_all();
    }
  }

  // Positions and buffers of the next step; its rows are filled by the threads.
  std::shared_ptr<Work> plan_step() {
    while (step >= steps_per_epoch(order->epoch_size(epoch), options.global_batch)) {
      if (order->epoch_size(epoch) == 0 && step == 0) {
        throw Error(ErrorKind::kInvalid, "epoch " + std::to_string(epoch) + " has no samples",
                    "the filters dropped everything, or the data set is empty");
      }
      ++epoch;
      step = 0;
    }
    auto work = std::make_shared<Work>();
    work->epoch = epoch;
    work->step = step;
    work->rows = (options.last_slot - options.first_slot) * slot_rows;
    work->faults.resize(index_of(work->rows));
    const std::int64_t size = order->epoch_size(epoch);
    std::int64_t position = step * options.global_batch + options.first_slot * slot_rows;
    for (std::int64_t s = options.first_slot; s < options.last_slot; ++s) {
      SlotBatch slot;
      if (options.images)
        (options.bytes ? slot.bytes_BHWC : slot.image_BCHW) = tensors.take(slot_rows, options.image_px);
      if (options.bytes) slot.mirrored.resize(index_of(slot_rows));
      slot.captions.resize(index_of(slot_rows));
      if (!options.synthetic_caption.empty()) slot.synthetic_captions.resize(index_of(slot_rows));
      slot.caption_choice.resize(index_of(slot_rows));
      slot.live.resize(index_of(slot_rows));
      for (std::int64_t row = 0; row < slot_rows; ++row, ++position) {
        slot.samples.push_back(position < size ? order->at(epoch, position) : SamplePosition{-1, -1});
      }
      work->slots.push_back(std::move(slot));
    }
    ++step;
    return work;
  }

  void keep_ahead() {
    while (static_cast<std::int64_t>(ahead.size()) < options.steps_ahead) {
      auto work = plan_step();
      const std::lock_guard lock(mutex);
      ahead.push_back(std::move(work));
      work_ready.notify_all();
    }
  }
};

BatchLoader::BatchLoader(std::vector<std::shared_ptr<const ShardReader>> readers,
                         std::vector<std::string> shard_sha256, std::shared_ptr<const SampleOrder> order,
                         std::vector<std::string> classes, std::vector<std::string> caption_templates,
                         LoaderOptions options)
    : state_(std::make_unique<State>()) {
  State& state = *state_;
  if (options.logical_slots < 1 || options.global_batch < 1 ||
      options.global_batch % options.logical_slots != 0 || options.first_slot < 0 ||
      options.first_slot >= options.last_slot || options.last_slot > options.logical_slots) {
    throw Error(ErrorKind::kInvalid, "batch of " + std::to_string(options.global_batch) + " over " +
                                         std::to_string(options.logical_slots) +
                                         " logical slots: slots must divide the batch");
  }
  if (readers.size() != shard_sha256.size()) {
    throw Error(ErrorKind::kInternal, "loader: readers and hashes differ in number");
  }
  state.readers = std::move(readers);
  state.shard_sha256 = std::move(shard_sha256);
  state.order = std::move(order);
  state.classes = std::move(classes);
  state.templates = std::move(caption_templates);
  state.slot_rows = options.global_batch / options.logical_slots;
  state.tensors = TensorPool(options.bytes);
  state.options = std::move(options);
  state.options.steps_ahead = std::max<std::int64_t>(1, state.options.steps_ahead);
  state.threads = start_torch_threads(std::max(1, state.options.threads), [&state] { state.run_thread(); });
}

BatchLoader::~BatchLoader() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->leaving = true;
  }
  state_->work_ready.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

void BatchLoader::seek(std::int64_t epoch, std::int64_t step_in_epoch) {
  const std::lock_guard lock(state_->mutex);
  state_->ahead.clear();  // rows in hand finish in buffers that nobody will see
  state_->epoch = epoch;
  state_->step = step_in_epoch;
}

BatchLoader::Step BatchLoader::next() {
  State& state = *state_;
  state.keep_ahead();
  const auto asked = std::chrono::steady_clock::now();
  std::shared_ptr<Work> work;
  {
    std::unique_lock lock(state.mutex);
    work = state.ahead.front();
    state.step_ready.wait(lock, [&] { return work->done_rows == work->rows; });
    state.ahead.pop_front();
  }
  Step step{work->epoch, work->step, std::move(work->slots), 0, work->sidecar_seconds, {}};
  step.wait_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - asked).count();
  if (work->error) std::rethrow_exception(work->error);
  for (const std::string& fault : work->faults) {
    if (!fault.empty()) ++step.bad[fault];
  }
  state.keep_ahead();
  return step;
}

}  // namespace trireme::worker::data
