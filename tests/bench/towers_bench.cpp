// One training step of a pair of towers on real captions, by the code that trains (as step_bench, for any
// model of this list), and the time to load a checkpoint of 2 GB.
//
//   cmake -S . -B build/bench -G Ninja -DTRIREME_BENCH=ON && ninja -C build/bench towers_bench
//   build/bench/bin/towers_bench step vit_b32|vit_b16|b0_mini fp32|bf16 [batch 32] [slots 2] [steps 6]
//   build/bench/bin/towers_bench load FILE.safetensors     (made when absent)
// Peers, in the same session and turn by turn:
//   python ../shared/peers/open_clip_step.py ViT-B-32 32 fp32
//   python tests/bench/efficientnet_bert_peer.py 32 fp32
//
// Prints a line of JSON: median seconds of a step and the processor time of the step that took least; or the
// seconds of a plain read of the file, of reading it into tensors, and the peak of memory beside these.
#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "worker/checkpoint/safetensors.h"
#include "worker/collective/local/local_group.h"
#include "worker/models/dual_encoder.h"
#include "worker/stages/train/objectives/contrastive/dual_encoder_model.h"
#include "worker/stages/train/step/training_step.h"
#include "worker/text/tokenizers/vocabulary_file.h"

namespace {

using namespace trireme;
using namespace trireme::worker;
using namespace trireme::worker::stages::train;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

jobs::ModelSpec spec_of(const std::string& name) {
  jobs::ModelSpec spec;  // the defaults are ViT-B/32
  spec.text.tokenizer = {jobs::TokenizerKind::kClipBpe, "pretrained:clip", 0};
  if (name == "vit_b16") spec.image.patch_px = 16;
  if (name == "b0_mini") {
    spec.image.kind = jobs::ImageTowerKind::kEfficientNetB0;
    spec.image.batch_norm.policy = jobs::BatchNormPolicy::kBatch;
    spec.text.kind = jobs::TextTowerKind::kBert;
    spec.text.pooling = jobs::TextPooling::kCls;
    spec.text.layers = 4;
    spec.text.width = 256;
    spec.text.heads = 4;
    spec.text.context = 64;
    spec.text.tokenizer = {jobs::TokenizerKind::kWordPiece, "pretrained:minilm", 0};
    spec.embed_dim = 320;
    spec.image.projection = jobs::ProjectionKind::kNone;
  }
  return spec;
}

void measure_step(const std::string& name, bool bf16, std::int64_t batch, int slots, int steps) {
  const auto captions = text::read_vocabulary_lines("../shared/data/multi30k/train.en.gz");
  models::DualEncoder encoder(spec_of(name), 0);
  DualEncoderModel model(encoder, {});
  const auto group = collective::make_local_groups(1);
  SlotPool pool(slots == 1 ? 1 : 2, slots == 1 ? 2 : 1, {});
  TrainingStep step(
      model, *group[0], pool,
      {.slots = slots, .bf16 = bf16, .schedule = {.peak = 1e-4, .warmup_steps = 0, .total_steps = 1000}});
  const at::Tensor images = at::randn({batch, 3, 224, 224});
  std::vector<double> times, work;
  for (int i = 0; i < steps; ++i) {
    const auto begin = Clock::now();
    const std::clock_t work_begin = std::clock();
    std::vector<SlotInput> inputs;
    std::int64_t caption = i * batch;
    for (const at::Tensor& part : images.chunk(slots)) {
      std::vector<std::string> own;
      for (std::int64_t row = 0; row < part.size(0); ++row)
        own.push_back(captions[static_cast<std::size_t>(caption++) % captions.size()]);
      SlotInput input;
      input.image_BCHW = part;
      input.tokens_BL = models::tokenize(encoder.tokenizer(), own, encoder.spec().text.context).tokens_NL;
      input.live_B = at::ones({part.size(0)}, at::kByte);
      inputs.push_back(std::move(input));
    }
    step.run(inputs, i);
    work.push_back(static_cast<double>(std::clock() - work_begin) / CLOCKS_PER_SEC);
    times.push_back(since(begin));
  }
  times.erase(times.begin(), times.begin() + std::min(2, steps - 1));
  std::sort(times.begin(), times.end());
  std::printf(
      "{\"model\": \"%s\", \"batch\": %lld, \"precision\": \"%s\", \"slots\": %d, \"seconds\": %.3f, "
      "\"cpu_seconds\": %.3f}\n",
      name.c_str(), static_cast<long long>(batch), bf16 ? "bf16" : "fp32", slots, times[times.size() / 2],
      *std::min_element(work.begin(), work.end()));
}

double peak_megabytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1e3;
}

double plain_read(const std::string& path) {
  const auto begin = Clock::now();
  const auto size = std::filesystem::file_size(path);
  const at::Tensor bytes = at::empty({static_cast<std::int64_t>(size)}, at::kByte);
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::uint64_t done = 0;
  for (ssize_t got = 1; got > 0 && done < size; done += static_cast<std::uint64_t>(std::max<ssize_t>(got, 0)))
    got = ::read(file, bytes.data_ptr<std::uint8_t>() + done, size - done);
  ::close(file);
  return since(begin);
}

void measure_load(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    for (int i = 0; i < 128; ++i) tensors.emplace_back("layer." + std::to_string(i), at::randn({4096, 1000}));
    checkpoint::write_safetensors(path, tensors, {}, false);
  }
  std::vector<double> plain, loaded;
  double extra = 0;
  for (int round = 0; round < 5; ++round) {
    {
      const auto begin = Clock::now();
      const checkpoint::SafetensorsFile file{io::Path(path)};
      std::vector<at::Tensor> tensors;
      double bytes = 0;
      for (const std::string& name : file.names()) {
        tensors.push_back(file.load(name));
        bytes += static_cast<double>(tensors.back().nbytes());
      }
      loaded.push_back(since(begin));
      if (round == 0) extra = peak_megabytes() - bytes / 1e6;
    }
    plain.push_back(plain_read(path));
  }
  std::sort(plain.begin(), plain.end());
  std::sort(loaded.begin(), loaded.end());
  std::printf(
      "{\"file\": \"%s\", \"plain_read_seconds\": %.3f, \"load_seconds\": %.3f, \"ratio\": %.3f, "
      "\"peak_beside_the_tensors_megabytes\": %.1f}\n",
      path.c_str(), plain[2], loaded[2], plain[2] / loaded[2], extra);
}

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int index, const char* otherwise) {
    return std::string(argc > index ? argv[index] : otherwise);
  };
  if (argument(1, "step") == "load")
    measure_load(argument(2, "/tmp/trireme_load.safetensors"));
  else
    measure_step(argument(2, "vit_b32"), argument(3, "fp32") == "bf16", std::stoll(argument(4, "32")),
                 std::stoi(argument(5, "2")), std::stoi(argument(6, "6")));
  std::fflush(stdout);
  _exit(0);  // no need to wait for gigabytes to be given back
}
