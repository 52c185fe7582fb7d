// One training step of ViT-B/32 on real captions: forward, InfoNCE, backward and fused AdamW.
//
//   cmake -S . -B build/bench -G Ninja -DTRIREME_BENCH=ON && ninja -C build/bench step_bench
//   build/bench/step_bench fp32|bf16 [batch 32] [slots 2] [steps 8] [captions
//   ../shared/data/multi30k/train.en.gz] peer, in the same session and turn by turn:  python
//   ../shared/peers/open_clip_step.py ViT-B-32 32 fp32|bf16
//
// slots = n: the batch is cut into n slots, side by side on one thread each (the canonical mode of training);
// slots = 1: the whole batch with two intra-op threads. Prints a line of JSON; `seconds` is the median step,
// `cpu_seconds` the processor time of the step that took least, which tells more on a machine that is not
// idle.
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <functional>
#include <string>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "worker/models/dual_encoder.h"
#include "worker/text/vocabulary_file.h"

namespace {

using namespace trireme;
using worker::models::DualEncoder;
using Tensors = std::vector<at::Tensor>;

// Runs body(thread) on every thread at once; the threads live as long as the team, so that what torch keeps
// per thread is made once.
class Team {
 public:
  Team(int size, int threads_each) : start_(size + 1), finish_(size + 1) {
    for (int index = 0; index < size; ++index)
      threads_.emplace_back([this, index, threads_each] {
        at::set_num_threads(threads_each);
        for (start_.arrive_and_wait(); body_; start_.arrive_and_wait()) {
          body_(index);
          finish_.arrive_and_wait();
        }
      });
  }
  ~Team() {
    body_ = nullptr;
    start_.arrive_and_wait();
    for (std::thread& thread : threads_) thread.join();
  }
  void run(std::function<void(int)> body) {
    body_ = std::move(body);
    start_.arrive_and_wait();
    finish_.arrive_and_wait();
  }
  int size() const { return static_cast<int>(threads_.size()); }

 private:
  std::barrier<> start_, finish_;
  std::function<void(int)> body_;
  std::vector<std::thread> threads_;
};

// State of AdamW over the parameters; step() shares them out by size among the team.
struct Adam {
  Tensors parameters, first, second, none, steps;
  std::vector<std::size_t> cuts{0};

  Adam(Tensors given, int parts) : parameters(std::move(given)) {
    std::int64_t total = 0, seen = 0;
    for (const at::Tensor& p : parameters) total += p.numel();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      first.push_back(at::zeros_like(parameters[i]));
      second.push_back(at::zeros_like(parameters[i]));
      steps.push_back(at::zeros({}, at::kFloat));
      seen += parameters[i].numel();
      while (static_cast<int>(cuts.size()) < parts &&
             seen * parts >= total * static_cast<std::int64_t>(cuts.size()))
        cuts.push_back(i + 1);
    }
    cuts.resize(static_cast<std::size_t>(parts), parameters.size());
    cuts.push_back(parameters.size());
  }

  void step(int part, std::vector<Tensors>& slots) {
    at::NoGradGuard no_grad;
    const auto range = [&](const Tensors& all) {
      const auto part_index = static_cast<std::size_t>(part);
      return Tensors(all.begin() + static_cast<std::ptrdiff_t>(cuts[part_index]),
                     all.begin() + static_cast<std::ptrdiff_t>(cuts[part_index + 1]));
    };
    const Tensors p = range(parameters), g = range(slots[0]), m = range(first), v = range(second),
                  s = range(steps);
    for (std::size_t slot = 1; slot < slots.size(); ++slot) {
      const Tensors other = range(slots[slot]);
      for (std::size_t i = 0; i < g.size(); ++i) g[i].add_(other[i]);
    }
    for (const at::Tensor& count : s) count.add_(1);
    at::_fused_adamw_(p, g, m, v, none, s, 1e-4, 0.9, 0.999, 0.01, 1e-8, false, false, {}, {});
  }
};

void autocast(bool on) {
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, on);
}

struct StepRun {
  DualEncoder& model;
  Team& team;
  Adam& adam;
  bool bfloat16;
  std::vector<Tensors> gradients;

  void operator()(const at::Tensor& images, const std::vector<std::string>& captions) {
    const auto slots = static_cast<std::size_t>(team.size());
    const at::Tensor tokens = worker::models::tokenize(model.tokenizer(), captions, 77).tokens_NL;
    const auto image_parts = images.chunk(team.size()), token_parts = tokens.chunk(team.size());
    Tensors image(slots), text(slots);
    gradients.assign(slots, {});
    team.run([&](int thread) {
      const auto slot = static_cast<std::size_t>(thread);
      autocast(bfloat16);
      image[slot] = model.encode_image(image_parts[slot]);
      text[slot] = model.encode_text(token_parts[slot]);
      autocast(false);
    });
    const at::Tensor all_image = at::cat(image).detach().requires_grad_(true);
    const at::Tensor all_text = at::cat(text).detach().requires_grad_(true);
    const at::Tensor logits = model.logit_scale().exp() * all_image.matmul(all_text.t());
    const at::Tensor target = at::arange(images.size(0), at::kLong);
    const at::Tensor loss =
        (at::cross_entropy_loss(logits, target) + at::cross_entropy_loss(logits.t(), target)) / 2;
    const auto outer = torch::autograd::grad({loss}, {all_image, all_text, model.logit_scale()});
    const auto image_gradients = outer[0].chunk(team.size()), text_gradients = outer[1].chunk(team.size());
    Tensors towers(adam.parameters.begin(), adam.parameters.end() - 1);  // all but the temperature
    team.run([&](int thread) {
      const auto slot = static_cast<std::size_t>(thread);
      gradients[slot] = torch::autograd::grad({image[slot], text[slot]}, towers,
                                              {image_gradients[slot], text_gradients[slot]});
      gradients[slot].push_back(slot == 0 ? outer[2] : at::zeros_like(outer[2]));
    });
    at::autocast::clear_cache();
    team.run([&](int thread) { adam.step(thread, gradients); });
  }
};

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int index, const char* otherwise) {
    return std::string(argc > index ? argv[index] : otherwise);
  };
  const bool bfloat16 = argument(1, "fp32") == "bf16";
  const std::int64_t batch = std::stoll(argument(2, "32"));
  const int slots = std::stoi(argument(3, "2")), steps = std::stoi(argument(4, "8"));
  const auto captions =
      worker::text::read_vocabulary_lines(argument(5, "../shared/data/multi30k/train.en.gz"));
  at::set_num_threads(slots == 1 ? 2 : 1);

  jobs::ModelSpec spec;  // the defaults are ViT-B/32
  spec.text.tokenizer.kind = "clip_bpe";
  spec.text.tokenizer.vocabulary = "pretrained:clip";
  DualEncoder model(spec, 0);
  Team team(slots, slots == 1 ? 2 : 1);
  Tensors parameters;
  for (const auto& [name, tensor] : model.trainable_parameters()) parameters.push_back(tensor);
  Adam adam(parameters, slots);
  StepRun run{model, team, adam, bfloat16, {}};
  const at::Tensor images = at::randn({batch, 3, 224, 224});
  std::vector<double> times, work;
  for (int step = 0; step < steps; ++step) {
    std::vector<std::string> own;
    for (std::int64_t i = 0; i < batch; ++i)
      own.push_back(captions[static_cast<std::size_t>(step * batch + i) % captions.size()]);
    const auto begin = std::chrono::steady_clock::now();
    const std::clock_t work_begin = std::clock();
    run(images, own);
    work.push_back(static_cast<double>(std::clock() - work_begin) / CLOCKS_PER_SEC);
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  times.erase(times.begin(), times.begin() + std::min<std::ptrdiff_t>(2, steps - 1));
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  std::printf(
      "{\"model\": \"ViT-B-32\", \"batch\": %lld, \"precision\": \"%s\", \"slots\": %d, \"seconds\": %.3f, "
      "\"cpu_seconds\": %.3f, \"samples_per_s\": %.2f}\n",
      static_cast<long long>(batch), bfloat16 ? "bf16" : "fp32", slots, median,
      *std::min_element(work.begin(), work.end()), static_cast<double>(batch) / median);
  std::fflush(stdout);
  _exit(0);  // no need to wait for a gigabyte to be given back
}
