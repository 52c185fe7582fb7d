// One training step of ViT-B/32 on real captions, by the code that trains: tokens, both towers, InfoNCE,
// backward, the tree over the slots, gradient norm and AdamW.
//
//   cmake -S . -B build/bench -G Ninja -DTRIREME_BENCH=ON && ninja -C build/bench step_bench
//   build/bench/step_bench fp32|bf16 [batch 32] [slots 2] [steps 8] [captions
//   ../shared/data/multi30k/train.en.gz] [micro_batch 0]
// The peer, in the same session and turn by turn:
//   python ../shared/peers/open_clip_step.py ViT-B-32 32 fp32|bf16
//
// slots = n: the batch is cut into n slots, side by side on two threads of one intra-op thread each
// (canonical mode); slots = 1: the whole batch with two intra-op threads (restart mode). Prints a line of
// JSON; `seconds` is the median step, `cpu_seconds` the processor time of the step that took least, which
// tells more on a machine that is not idle; `peak_mib` is the most memory the process has held.
#include <ATen/ATen.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include "worker/collective/local/local_group.h"
#include "worker/models/dual_encoder.h"
#include "worker/stages/train/objectives/contrastive/dual_encoder_model.h"
#include "worker/stages/train/step/training_step.h"
#include "worker/text/tokenizers/vocabulary_file.h"

namespace {

using namespace trireme;
using namespace trireme::worker;
using namespace trireme::worker::stages::train;

std::vector<SlotInput> inputs_of(models::DualEncoder& encoder, const at::Tensor& images,
                                 const std::vector<std::string>& captions, std::int64_t first, int slots) {
  std::vector<SlotInput> inputs;
  for (const at::Tensor& part : images.chunk(slots)) {
    std::vector<std::string> own;
    for (std::int64_t i = 0; i < part.size(0); ++i)
      own.push_back(captions[static_cast<std::size_t>(first++) % captions.size()]);
    SlotInput input;
    input.image_BCHW = part;
    input.tokens_BL = models::tokenize(encoder.tokenizer(), own, encoder.spec().text.context).tokens_NL;
    input.live_B = at::ones({part.size(0)}, at::kByte);
    inputs.push_back(std::move(input));
  }
  return inputs;
}

struct Arguments {
  bool bf16 = false;
  std::int64_t batch = 32;
  int slots = 2, steps = 8;
  std::string captions;
  std::int64_t micro_batch = 0;
};

double peak_mib() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_maxrss) / 1024;
}

void measure(const Arguments& given) {
  const auto captions = text::read_vocabulary_lines(given.captions);
  jobs::ModelSpec spec;  // the defaults are ViT-B/32
  spec.text.tokenizer.kind = jobs::TokenizerKind::kClipBpe;
  spec.text.tokenizer.vocabulary = "pretrained:clip";
  models::DualEncoder encoder(spec, 0);
  DualEncoderModel model(encoder, {});
  const auto group = collective::make_local_groups(1);
  SlotPool pool(given.slots == 1 ? 1 : 2, given.slots == 1 ? 2 : 1, {});
  TrainingStep step(model, *group[0], pool,
                    {.slots = given.slots,
                     .bf16 = given.bf16,
                     .micro_batch = given.micro_batch,
                     .schedule = {.peak = 1e-4, .warmup_steps = 0, .total_steps = 1000}});
  const at::Tensor images = at::randn({given.batch, 3, 224, 224});
  std::vector<double> times, work;
  for (int i = 0; i < given.steps; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const std::clock_t work_begin = std::clock();
    step.run(inputs_of(encoder, images, captions, i * given.batch, given.slots), i);
    work.push_back(static_cast<double>(std::clock() - work_begin) / CLOCKS_PER_SEC);
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  times.erase(times.begin(), times.begin() + std::min(2, given.steps - 1));
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  std::printf(
      "{\"model\": \"ViT-B-32\", \"batch\": %lld, \"precision\": \"%s\", \"slots\": %d, \"micro_batch\": "
      "%lld, "
      "\"seconds\": %.3f, \"cpu_seconds\": %.3f, \"samples_per_s\": %.2f, \"peak_mib\": %.0f}\n",
      static_cast<long long>(given.batch), given.bf16 ? "bf16" : "fp32", given.slots,
      static_cast<long long>(given.micro_batch), median, *std::min_element(work.begin(), work.end()),
      static_cast<double>(given.batch) / median, peak_mib());
}

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int index, const char* otherwise) {
    return std::string(argc > index ? argv[index] : otherwise);
  };
  measure({.bf16 = argument(1, "fp32") == "bf16",
           .batch = std::stoll(argument(2, "32")),
           .slots = std::stoi(argument(3, "2")),
           .steps = std::stoi(argument(4, "8")),
           .captions = argument(5, "../shared/data/multi30k/train.en.gz"),
           .micro_batch = std::stoll(argument(6, "0"))});
  std::fflush(stdout);
  _exit(0);  // no need to wait for a gigabyte to be given back
}
