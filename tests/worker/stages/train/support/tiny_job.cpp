#include "tests/worker/stages/train/support/tiny_job.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <mutex>
#include <thread>

#include "common/base/random.h"
#include "common/io/file.h"
#include "tests/support/eventually.h"
#include "tests/worker/collective/support/recorded_ranks.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/collective/local/local_group.h"
#include "worker/data/images/image.h"
#include "worker/data/shards/sample_fields.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/shards/written_captions.h"
#include "worker/stages/train/train_stage.h"

namespace trireme::worker::stages::train {
namespace {

constexpr std::int64_t kShards = 3, kSamples = 16;

void add_member(std::string& tar, const std::string& name, const std::string& bytes) {
  char header[512] = {};
  std::snprintf(header, 100, "%s", name.c_str());
  std::snprintf(header + 100, 8, "%07o", 0644);
  std::snprintf(header + 108, 8, "%07o", 0);
  std::snprintf(header + 116, 8, "%07o", 0);
  std::snprintf(header + 124, 12, "%011lo", static_cast<unsigned long>(bytes.size()));
  std::snprintf(header + 136, 12, "%011o", 0);
  std::memset(header + 148, ' ', 8);
  header[156] = '0';
  std::memcpy(header + 257, "ustar\00000", 8);
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::snprintf(header + 148, 8, "%06o", sum);
  tar.append(header, 512);
  tar += bytes;
  tar.append((512 - bytes.size() % 512) % 512, '\0');
}

struct Scene {
  std::string caption, jpeg, json;
};

Scene scene(std::int64_t number) {
  static const char* const kColours[] = {"red", "green", "blue", "yellow", "purple", "white"};
  static const std::uint8_t kRgb[][3] = {{220, 20, 20},  {20, 200, 20},  {20, 20, 220},
                                         {220, 220, 20}, {180, 20, 180}, {250, 250, 250}};
  static const char* const kPlaces[] = {"top left", "top right", "bottom left", "bottom right"};
  const auto colour = number % 6, place = number / 6 % 4, ground = number / 24;
  data::Image image{32, 32, std::vector<std::uint8_t>(32 * 32 * 3, ground == 0 ? 10 : 120)};
  for (std::int64_t y = 0; y < 14; ++y)
    for (std::int64_t x = 0; x < 14; ++x)
      for (std::int64_t c = 0; c < 3; ++c)
        image
            .rgb[static_cast<std::size_t>(((y + 1 + place / 2 * 16) * 32 + x + 1 + place % 2 * 16) * 3 + c)] =
            kRgb[colour][c];
  return {std::string("a ") + kColours[colour] + " square in the " + kPlaces[place] + " on " +
              (ground == 0 ? "black" : "grey"),
          data::encode_jpeg(image, 92),
          std::string("{\"synthetic_caption\": \"a ") + kColours[colour] + " thing\", \"objects\": {\"" +
              (ground == 0 ? "night" : "fog") + "\": 0.75, \"square\": 0.25}, \"attributes\": [\"" +
              kColours[colour] + "\", \"" + kPlaces[place] + "\"]}"};
}

}  // namespace

namespace {

// What a caption stage would leave, in two ranges.
std::vector<std::string> write_captions_of(const jobs::ShardRef& shard, std::int64_t left_out) {
  const data::ShardReader reader(shard.path, shard.path + ".idx");
  std::vector<std::string> paths;
  for (std::int64_t first = 0; first < kSamples; first += kSamples / 2) {
    data::WrittenCaptions file{shard.sha256, first, kSamples / 2, "model", "{}", {}};
    for (std::int64_t i = first; i < std::min(first + kSamples / 2, kSamples - left_out); ++i)
      file.captions.push_back(
          {i, reader.key(i), data::text_field(reader.json(i), "synthetic_caption"), -1, 3});
    paths.push_back(shard.path + "." + std::to_string(first) + ".captions.jsonl");
    data::write_captions_file(paths.back(), file);
  }
  return paths;
}

}  // namespace

TinyJob::TinyJob(const std::string& folder, bool labelled) : folder_(folder), labelled_(labelled) {
  std::filesystem::remove_all(folder_);
  io::make_folders(folder_);
  for (std::int64_t s = 0; s < kShards; ++s) {
    std::string tar;
    for (std::int64_t i = 0; i < kSamples; ++i) {
      const auto made = scene(s + kShards * i);
      char key[16];
      std::snprintf(key, sizeof key, "%09ld", static_cast<long>(s * kSamples + i));
      add_member(tar, std::string(key) + ".jpg", made.jpeg);
      add_member(tar, std::string(key) + ".txt", made.caption);
      add_member(tar, std::string(key) + ".json", made.json);
      if (labelled) add_member(tar, std::string(key) + ".cls", std::to_string((s + kShards * i) % 6));
    }
    tar.append(1024, '\0');
    const auto path = folder_ + "/" + std::to_string(s) + ".tar";
    io::write_file_atomic(path, tar, false);
    const auto scan = data::build_shard_index(path, jobs::DataFormat::kWebdataset, {}, path + ".idx");
    jobs::ShardRef ref{.data = "train", .shard = s, .path = path, .format = jobs::DataFormat::kWebdataset};
    ref.bytes = tar.size();
    ref.sha256 = scan.sha256;
    ref.samples = scan.samples;
    shards_.push_back(ref);
  }
  model.image.image_px = 32;
  model.image.patch_px = 8;
  model.image.width = 32;
  model.image.layers = 2;
  model.image.heads = 2;
  model.text.tokenizer.buckets = 512;
  model.text.context = 16;
  model.text.width = 32;
  model.text.layers = 1;
  model.text.heads = 2;
  model.embed_dim = 16;
  settings.data = "train";
  settings.model = "tiny";
  settings.global_batch = 16;
  settings.logical_slots = 4;
  settings.optimizer.learning_rate = 3e-3;
  settings.optimizer.warmup_steps = 4;
}

void TinyJob::combine_everything() {
  settings.loss.texts = jobs::LossTexts::kBoth;
  settings.loss.label_smoothing = 0.1;
  settings.loss.negative_fraction = 0.8;
  settings.loss.hard_negatives = {.alpha = 0.999, .beta = 0.25};
  settings.loss.gates = {.sample = true, .text = true, .caption = true, .momentum = 0.8, .h_init = 0.9};
  settings.concepts.heads = {
      {.name = "objects", .field = "objects", .vocabulary = {"square", "night", "fog"}, .top_k = 2},
      {.name = "attributes",
       .field = "attributes",
       .vocabulary = {"red", "green", "blue", "yellow", "purple", "top left", "bottom right"},
       .top_k = 0,
       .weight = 0.5}};
  settings.concepts.sampling = jobs::ConceptSampling::kSquareRoot;
  settings.micro_batch = 3;
  settings.optimizer.kind = jobs::OptimizerKind::kLamb;
  settings.optimizer.schedule = jobs::RateSchedule::kOneCycle;
  settings.optimizer.warmup_steps = 0;
  settings.optimizer.learning_rate = 0.02;
  settings.optimizer.decay_on = jobs::DecayOn::kAll;
  settings.optimizer.weight_decay = 0.01;
  settings.optimizer.groups = {
      {.names = "concepts.*", .learning_rate_factor = 10, .weight_decay_factor = 0.01}};
  settings.optimizer.gradient_clip_norm = 1;
  settings.average.decay = 0.9;
}

jobs::Task TinyJob::task(const std::string& run) const {
  jobs::Task task;
  task.lease.value = 7;
  task.stage = "train";
  task.kind = jobs::TaskKind::kTrain;
  task.settings = jobs::settings_json(settings);
  task.model = jobs::model_json(model);
  jobs::DataSpec data;
  data.sources.push_back({.path = folder_});
  if (labelled_) data.classes = {"red", "green", "blue", "yellow", "purple", "white"};
  task.data = jobs::data_json(data);
  task.evaluate_data = jobs::data_json(data);
  task.address = "0123456789abcdef0123456789abcdef";
  task.output = output(run);
  task.stage_folder = folder_ + "/" + run + "/stages";
  task.checkpoint_folder = folder_ + "/" + run + "/ckpt";
  task.checkpoint_every_steps = checkpoint_every_steps;
  std::string lines;
  const auto add = [&](const jobs::InputsLine& line) { lines += jobs::to_json(line) + "\n"; };
  const auto add_file = [&](const jobs::ShardRef& shard, jobs::Role role, const std::string& path,
                            std::int64_t first) {
    add({.input = jobs::InputFile{
             .role = role, .data = shard.data, .shard = shard.shard, .first = first, .path = path}});
  };
  for (auto shard : shards_) {
    for (const char* name : {"train", "test"}) {
      shard.data = name;
      add({.shard = shard});
      add_file(shard, jobs::Role::kShardIndex, shard.path + ".idx", -1);
      if (stored_features) {
        const auto path = shard.path + ".features.safetensors";
        RandomStream random(9, RandomPurpose::kTest, static_cast<std::uint64_t>(shard.shard));
        const auto draw = [&](std::int64_t width) {
          at::Tensor values = at::empty({kSamples, width}, at::kFloat);
          for (std::int64_t i = 0; i < values.numel(); ++i)
            values.data_ptr<float>()[i] = static_cast<float>(3 + 2 * random.normal());
          return values;
        };
        const auto rows = at::arange(kSamples, at::kLong);
        at::Tensor images = draw(model.image.width);
        if (broken_feature && shard.shard == 1) images[4][7] = std::nanf("");
        checkpoint::write_safetensors(
            path,
            {{"sample", rows}, {"image", images}, {"text", draw(model.text.width)}, {"text_owner", rows}},
            {{"format", "trireme-features"}, {"version", "1"}, {"space", "tower"}}, false);
        add_file(shard, jobs::Role::kFeatures, path, 0);
      }
    }
    if (written_captions) {
      shard.data = "train";
      std::int64_t first = 0;
      for (const auto& path : write_captions_of(shard, shard.shard + 1 == kShards ? captions_left_out : 0)) {
        add({.input = jobs::InputFile{.role = jobs::Role::kCaptions,
                                      .stage = "captions",
                                      .data = shard.data,
                                      .shard = shard.shard,
                                      .first = first,
                                      .path = path}});
        first += kSamples / 2;
      }
    }
    if (!filtered) continue;
    shard.data = "train";
    std::string verdicts = "{\"format\":\"trireme-verdicts\",\"version\":1,\"first\":0,\"count\":16}\n";
    for (std::int64_t i = 0; i < kSamples; ++i)
      verdicts += "{\"sample\":" + std::to_string(i) + ",\"key\":\"k\",\"kept\":" +
                  (i % 5 == 0 ? "false,\"rules\":[\"min_words\"],\"evidence\":{}}" : "true}") + "\n";
    io::write_file_atomic(shard.path + ".verdicts.jsonl", verdicts, false);
    add_file(shard, jobs::Role::kVerdicts, shard.path + ".verdicts.jsonl", 0);
  }
  task.inputs_file = folder_ + "/" + run + ".inputs.jsonl";
  io::write_file_atomic(task.inputs_file, lines, false);
  return task;
}

TinyJob::Outcome TinyJob::train(const std::string& run, int ranks, const std::string& resume_from,
                                const std::function<void(std::int64_t, runtime::StopRequest&)>& on_step) {
  jobs::Task work = task(run);
  work.resume_from = resume_from;
  Outcome outcome;
  runtime::StopRequest stop;
  std::mutex mutex;
  std::atomic<std::int64_t> sealed{-1}, committed{-1}, written_step{-1};
  std::atomic<int> looks{0};
  const collective::GroupOptions group_options{.stopped = [&] { return stop.stop_now(); }};
  auto groups = device == "cpu" ? collective::make_local_groups(ranks, group_options)
                                : collective::make_recorded_groups(ranks, group_options);
  const auto run_rank = [&](int rank) {
    runtime::TaskContext context;
    context.stop = &stop;
    context.threads = 1 + rank % 2;  // must not matter
    context.incarnation.value = 1;
    context.device = device;
    context.group = groups[static_cast<std::size_t>(rank)].get();
    context.report_step = [&](const jobs::StepReport& report) {
      outcome.reports.push_back(report);
      if (await_checkpoints && checkpoint_every_steps > 0 && report.step > checkpoint_every_steps) {
        const auto due = (report.step - 1) / checkpoint_every_steps * checkpoint_every_steps;
        const auto begun = outcome.reports.front().step - 1;  // that of a checkpoint of another run
        EXPECT_TRUE(trireme::testing::eventually([&] { return due <= begun || written_step >= due; }));
      }
      if (on_step) on_step(report.step, stop);
    };
    context.checkpoint_written = [&](const jobs::CheckpointWritten& written) {
      const std::lock_guard lock(mutex);
      auto folder = io::Path(written.folder);
      if (commit) {
        char name[32];
        std::snprintf(name, sizeof name, "step-%08ld", static_cast<long>(written.step));
        folder = folder.parent_path() / name;
        std::filesystem::remove_all(folder);
        std::filesystem::rename(written.folder, folder);
        if (lose_files) std::filesystem::remove(folder / "model.safetensors");
        sealed = written.step;
      }
      outcome.checkpoints.push_back(folder.string());
      written_step = written.step;
    };
    context.last_committed_checkpoint = [&] {
      if (sealed != committed && ++looks > commit_looks) committed = sealed.load();
      return committed.load();
    };
    try {
      TrainStage stage;
      const auto done = stage.run(work, context);
      if (rank == 0) outcome.done = done;
    } catch (const Error& error) {
      if (rank == 0) {
        outcome.error = error.what();
        outcome.error_kind = error.kind();
      }
      groups[static_cast<std::size_t>(rank)].reset();
    }
    const std::lock_guard lock(mutex);
    outcome.committed_at_exit.push_back(committed);
  };
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) threads.emplace_back(run_rank, rank);
  for (auto& thread : threads) thread.join();
  return outcome;
}

}  // namespace trireme::worker::stages::train
