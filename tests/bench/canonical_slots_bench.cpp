// What `deterministic: canonical` costs: slots side by side on one thread each against the same slots one
// after the other on all threads (restart). Prints one line per model, precision and mode; interleaved,
// medians.
//   canonical_slots_bench [threads] [slots] [rounds]
#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "jobs/specification/model_spec.h"
#include "worker/collective/local/local_group.h"
#include "worker/models/dual_encoder.h"
#include "worker/stages/train/objectives/contrastive/dual_encoder_model.h"
#include "worker/stages/train/step/training_step.h"

namespace {
using namespace trireme;
using namespace trireme::worker;
using namespace trireme::worker::stages::train;

struct Case {
  std::string name;
  jobs::ModelSpec model;
  std::int64_t batch, tokens;
};

jobs::ModelSpec model_of(std::int64_t px, std::int64_t patch, std::int64_t width, std::int64_t layers,
                         std::int64_t text_width, std::int64_t text_layers) {
  jobs::ModelSpec spec;
  spec.image.image_px = px;
  spec.image.patch_px = patch;
  spec.image.width = width;
  spec.image.layers = layers;
  spec.image.heads = width / 64;
  spec.text.width = text_width;
  spec.text.layers = text_layers;
  spec.text.heads = text_width / 64;
  return spec;
}

std::vector<SlotInput> inputs_of(const Case& one, std::int64_t slots) {
  std::vector<SlotInput> inputs;
  const auto rows = one.batch / slots;
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    SlotInput input;
    input.image_BCHW = at::randn({rows, 3, one.model.image.image_px, one.model.image.image_px});
    input.tokens_BL = at::randint(3, 4000, {rows, one.tokens}, at::kLong);
    input.live_B = at::ones({rows}, at::kByte);
    inputs.push_back(std::move(input));
  }
  return inputs;
}

double samples_per_second(const Case& one, std::int64_t slots, int threads, bool canonical, bool bf16) {
  models::DualEncoder encoder(one.model, 1);
  DualEncoderModel model(encoder, {});
  const auto group = collective::make_local_groups(1);
  SlotPool pool(canonical ? threads : 1, canonical ? 1 : threads, {});
  TrainingStep step(model, *group[0], pool, {.slots = slots, .bf16 = bf16, .schedule = {.total_steps = 100}});
  const auto inputs = inputs_of(one, slots);
  step.run(inputs, 0);
  const auto begin = std::chrono::steady_clock::now();
  std::int64_t steps = 0;
  double seconds = 0;
  while (seconds < 3 || steps < 2) {
    step.run(inputs, ++steps);
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  return static_cast<double>(one.batch * steps) / seconds;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}
}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const std::int64_t slots = argc > 2 ? std::atoi(argv[2]) : 8;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 3;
  const std::vector<Case> cases{{"vit-32px-w64-l2", model_of(32, 8, 64, 2, 64, 2), 64, 12},
                                {"vit-32px-w256-l6", model_of(32, 4, 256, 6, 256, 4), 64, 16},
                                {"vit-b-32", model_of(224, 32, 768, 12, 512, 12), 32, 24}};
  for (const auto& one : cases)
    for (const bool bf16 : {false, true}) {
      std::vector<double> canonical, restart;
      for (int round = 0; round < rounds; ++round) {
        canonical.push_back(samples_per_second(one, slots, threads, true, bf16));
        restart.push_back(samples_per_second(one, slots, threads, false, bf16));
      }
      std::printf("%-18s %-7s canonical %8.1f samples/s, restart %8.1f samples/s, ratio %.3f\n",
                  one.name.c_str(), bf16 ? "bf16" : "float32", median(canonical), median(restart),
                  median(canonical) / median(restart));
      std::fflush(stdout);
    }
}
