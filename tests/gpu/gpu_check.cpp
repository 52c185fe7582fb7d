// What tests/gpu/run.py asks of a device, one question per start; answers are lines of JSON. Without a GPU
// the same questions are asked of the CPU in small.
//
//   gpu_check load DEVICE                 torch's CUDA parts, the plug-in, NCCL: found and loaded, GPU or not
//   gpu_check tiles DEVICE                kernels of the loss against the CPU's
//   gpu_check loss DEVICE [rows] [width]  members of the loss and their gradients against the CPU's in
//   float64 gpu_check memory DEVICE ROWS WIDTH    one loss in bfloat16 rows: seconds, most memory gpu_check
//   step DEVICE MODEL BATCH STEPS [graphs|alip_diht]
//       a training step of b32, l14 or tiny: samples/s, MFU, memory; with its passes as CUDA graphs, or with
//       two texts, gates, hard negatives and a head
//   gpu_check passes DEVICE BATCH ROUNDS [small]  embedding, teacher and caption pass: images/s
#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <functional>
#include <iostream>
#include <optional>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "worker/collective/cuda_plugin.h"
#include "worker/collective/gang_group.h"
#include "worker/collective/local/local_group.h"
#include "worker/kernels/pair_tile/composed_pair_tile.h"
#include "worker/kernels/pair_tile/cpu_pair_tile.h"
#include "worker/kernels/replay/replay.h"
#include "worker/losses/alip_gates.h"
#include "worker/losses/contrastive.h"
#include "worker/models/autocast.h"
#include "worker/models/captioner/captioner.h"
#include "worker/stages/train/objectives/contrastive/dual_encoder_model.h"
#include "worker/stages/train/run/utilization.h"
#include "worker/stages/train/step/training_step.h"

namespace {

using namespace trireme;
using namespace trireme::worker;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

void say(const json& line) {
  std::cout << line.dump() << std::endl;
}

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void wait_for(const at::Tensor& tensor) {
  static_cast<void>(tensor.flatten()[0].item<double>());
}

// Of the largest number wanted; what is no number is as wrong as can be.
double worst(const at::Tensor& got, const at::Tensor& want) {
  if (want.numel() == 0) return 0;
  const at::Tensor a = got.to(at::kCPU, at::kDouble), b = want.to(at::kCPU, at::kDouble);
  const double off = at::where(a.eq(b), 0, a - b).abs().max().item<double>();  // infinities are equal
  const double most = std::max(1e-30, at::where(b.abs().eq(INFINITY), 0, b).abs().max().item<double>());
  return std::isfinite(off / most) ? off / most : 1e30;
}

// The device, what the plug-in beside this program brings, and a group of one.
class Bench {
 public:
  explicit Bench(const std::string& name) : device(name) {
    if (device.is_cpu()) {
      group = std::move(collective::make_local_groups(1).front());
      return;
    }
    if (::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr)
      throw Error(ErrorKind::kUnavailable, ::dlerror());
    const auto beside = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    collective::NcclFactory nccl;
    try {
      plugin_.emplace(beside.string());  // registers its kernels
      nccl = {[this] { return plugin_->nccl_unique_id(); },
              [this](const std::string& id, int rank, int size, int gpu) {
                return plugin_->nccl_calls(id, rank, size, gpu);
              }};
    } catch (const Error& error) {
      std::cerr << error.what() << "\n";
    }
    std::string chosen;
    group = collective::make_gang_group(std::move(collective::make_local_groups(1).front()), name, "here",
                                        nccl, {}, chosen);
    std::cerr << chosen << "\n";
  }
  double peak_gib() const {
    if (device.is_cpu()) return 0;
    const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
    return static_cast<double>(stats.allocated_bytes[0].peak) / (1 << 30);
  }
  const char* path() const {
    const char* names[] = {"cpu", "cuda", "composed"};
    return names[static_cast<int>(kernels::pair_tile_path(device))];
  }

  at::Device device;
  std::unique_ptr<collective::Group> group;

 private:
  std::optional<collective::CudaPlugin> plugin_;
};

void load() {
  if (::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr)
    throw Error(ErrorKind::kUnavailable, ::dlerror());
  const collective::CudaPlugin plugin(std::filesystem::read_symlink("/proc/self/exe").parent_path().string());
  const bool kernels = kernels::pair_tile_path(at::Device("cuda:0")) == kernels::PairTilePath::kCuda &&
                       kernels::can_record(at::Device("cuda:0"));
  say({{"kernels", kernels}, {"nccl_id_bytes", plugin.nccl_unique_id().size()}});
}

// ---- kernels

struct TileCase {
  kernels::PairTile tile;
  at::Tensor logits, rows_5R, columns_5C;
};

TileCase tile_case(int key) {
  const std::int64_t rows = 1 + key * 37 % 700, columns = 1 + key * 91 % 900;
  TileCase c;
  c.logits = at::randn({rows, columns}) * (key % 2 == 0 ? 3 : 20);
  const auto lines = [&](std::int64_t n, std::int64_t first) {
    kernels::TileLines result{.first = first, .live_n = {}, .label_n = {}, .choice_n3 = {}};
    if (key % 3 == 0) result.live_n = at::rand({n}).gt(0.2).to(at::kByte);
    if (key % 5 == 0) result.label_n = at::randint(40, {n}, at::kLong);
    if (key % 4 == 1) {
      result.choice_n3 = at::randint(std::int64_t{1} << 31, {n, 3}, at::kLong);
      result.choice_n3.select(1, 2).remainder_(columns + 60).sub_(1);
    }
    return result;
  };
  c.tile.rows = lines(rows, 20);
  c.tile.columns = lines(columns, 10 + key % 30);
  c.tile.sigmoid = key % 4 == 3;
  c.tile.linear = !c.tile.sigmoid && key % 7 < 3;
  c.tile.beta = c.tile.sigmoid || key % 2 == 0 ? 0 : 0.5;
  c.tile.weight_gradient = key % 11 != 0;
  const auto coefficients = [&](std::int64_t n) {
    at::Tensor k = at::rand({kernels::kCoefficients, n});
    if (!c.tile.sigmoid)
      for (const auto which : {kernels::kHard, kernels::kBase, kernels::kPositive}) k[which] -= 60;
    return k;
  };
  c.rows_5R = coefficients(rows);
  c.columns_5C = coefficients(columns);
  return c;
}

kernels::TileLines moved(const kernels::TileLines& lines, const at::Device& device) {
  const auto there = [&](const at::Tensor& tensor) { return tensor.defined() ? tensor.to(device) : tensor; };
  return {lines.first, there(lines.live_n), there(lines.label_n), there(lines.choice_n3)};
}

struct TileResult {
  at::Tensor rows, columns, gradient, sums;
};

TileResult run_tile(const TileCase& c, const at::Device& device, const kernels::PairTileTable& functions) {
  kernels::PairTile tile = c.tile;
  tile.rows = moved(tile.rows, device);
  tile.columns = moved(tile.columns, device);
  const auto options = at::TensorOptions(device);
  const auto buffer = [&] {
    return kernels::tile_buffer(c.logits.size(0), c.logits.size(1), options.dtype(at::kFloat))
        .copy_(c.logits);
  };
  TileResult result{kernels::start_statistics(c.logits.size(0), options),
                    kernels::start_statistics(c.logits.size(1), options), buffer(),
                    at::zeros({2}, options.dtype(at::kDouble))};
  functions.statistics(buffer(), tile, result.rows, result.columns);
  functions.gradient(result.gradient, tile, c.rows_5R.to(device), c.columns_5C.to(device), result.sums);
  return result;
}

void tiles(const Bench& bench) {
  std::vector<std::pair<const char*, kernels::PairTileTable>> paths{
      {"composed", {&kernels::composed_add_statistics, &kernels::composed_tile_gradient}}};
  if (kernels::pair_tile_path(bench.device) == kernels::PairTilePath::kCuda)
    paths.push_back({"cuda", {&kernels::add_statistics, &kernels::tile_gradient}});
  for (const auto& [name, functions] : paths) {
    double statistics = 0, gradient = 0;
    constexpr int kCases = 44;
    for (int key = 0; key < kCases; ++key) {
      at::manual_seed(static_cast<std::uint64_t>(key));
      const auto c = tile_case(key);
      const auto want = run_tile(c, at::kCPU, {&kernels::cpu_add_statistics, &kernels::cpu_tile_gradient});
      const auto got = run_tile(c, bench.device, functions);
      for (std::int64_t which = 0; which < kernels::kStatistics; ++which)
        statistics = std::max({statistics, worst(got.rows[which], want.rows[which]),
                               worst(got.columns[which], want.columns[which])});
      gradient = std::max({gradient, worst(got.gradient, want.gradient), worst(got.sums, want.sums)});
    }
    say({{"path", name}, {"cases", kCases}, {"worst_statistics", statistics}, {"worst_gradient", gradient}});
  }
}

// ---- the loss

struct Member {
  const char* name;
  losses::ContrastiveOptions options;
  int texts = 1;
  bool gates = false, labels = false;
};

const std::vector<Member>& members() {
  static const std::vector<Member> all{
      {"info_nce", {}},
      {"align", {.smoothing = 0.1}},
      {"diht", {.alpha = 0.999, .beta = 0.5}},
      {"quarter_negatives", {.negative_fraction = 0.25}},
      {"unicl", {}, 1, false, true},
      {"siglip", {.kind = losses::ContrastiveKind::kSigmoid}},
      {"alip", {}, 2, true},
      {"alip_diht", {.smoothing = 0.1, .alpha = 0.999, .beta = 0.25}, 2, true}};
  return all;
}

losses::SlotEmbeddings slot_of(const Member& member, std::int64_t rows, std::int64_t width,
                               const at::Device& device, at::ScalarType type) {
  at::manual_seed(1);
  const auto unit = [&] {
    const at::Tensor x = at::randn({rows, width}, at::TensorOptions(device));
    return (x / x.norm(2, {1}, true)).to(type);
  };
  losses::SlotEmbeddings slot{.image_bD = unit()};
  for (int p = 0; p < member.texts; ++p) slot.text_bD.push_back(unit());
  slot.live_b = at::ones({rows}, at::kByte);
  if (member.labels) slot.label_b = at::arange(rows, at::kLong).floor_divide(3);
  return slot;
}

losses::ContrastiveResult run_loss(const Member& member, losses::SlotEmbeddings slot,
                                   collective::Group& group) {
  std::vector<losses::SlotEmbeddings> own{std::move(slot)};
  if (member.gates) {
    auto gates = losses::alip_gates(own, 1, {}, {}, group);
    own[0].weight_b = std::move(gates.weight_b[0]);
  }
  return losses::contrastive(own, 1, {.scale = 20, .bias = -5, .step = 3}, member.options, group,
                             [](std::int64_t n, const std::function<void(std::int64_t)>& body) {
                               for (std::int64_t i = 0; i < n; ++i) body(i);
                             });
}

void loss(const Bench& bench, std::int64_t rows, std::int64_t width) {
  const auto host = collective::make_local_groups(1);
  for (const auto& member : members()) {
    auto slot = slot_of(member, rows, width, at::kCPU, at::kFloat);
    slot.live_b[5] = 0;
    const auto moved_to = [&](const at::TensorOptions& options) {
      auto copy = slot;
      copy.image_bD = copy.image_bD.to(options);
      for (auto& text : copy.text_bD) text = text.to(options);
      return copy;
    };
    const auto want = run_loss(member, moved_to(at::kDouble), *host[0]),
               got = run_loss(member, moved_to(at::TensorOptions(bench.device)), *bench.group);
    bench.group->confirm();
    double off = worst(got.gradients[0].image_bD, want.gradients[0].image_bD);
    for (std::size_t p = 0; p < slot.text_bD.size(); ++p)
      off = std::max(off, worst(got.gradients[0].text_bD[p], want.gradients[0].text_bD[p]));
    say({{"member", member.name},
         {"path", bench.path()},
         {"rows", rows},
         {"loss", got.loss},
         {"loss_off", std::abs(got.loss - want.loss) / std::max(1.0, std::abs(want.loss))},
         {"gradient_off", off}});
  }
}

void memory(const Bench& bench, std::int64_t rows, std::int64_t width) {
  auto slot = slot_of(members()[0], rows, width, bench.device, at::kBFloat16);
  double seconds = 1e9, value = 0;
  for (int round = 0; round < (rows > 100000 ? 1 : 2); ++round) {
    const auto begin = Clock::now();
    const auto result = run_loss(members()[0], slot, *bench.group);
    wait_for(result.gradients[0].image_bD);
    seconds = std::min(seconds, since(begin));
    value = result.loss;
  }
  say({{"rows", rows},
       {"width", width},
       {"path", bench.path()},
       {"tile", kernels::largest_tile(bench.device)},
       {"loss", value},
       {"seconds", seconds},
       {"peak_gib", bench.peak_gib()}});
}

// ---- models

jobs::ModelSpec model_of(const std::string& name) {
  jobs::ModelSpec spec;  // the defaults are ViT-B/32
  spec.text.tokenizer.buckets = name == "tiny" ? 1024 : 49408;
  if (name == "l14") {
    spec.image.patch_px = 14;
    spec.image.width = 1024;
    spec.image.layers = 24;
    spec.image.heads = 16;
    spec.text.width = 768;
    spec.text.heads = 12;
    spec.embed_dim = 768;
  } else if (name == "tiny") {
    spec.image.image_px = 32;
    spec.image.patch_px = 8;
    spec.image.width = spec.text.width = 32;
    spec.image.layers = spec.text.layers = 2;
    spec.image.heads = spec.text.heads = 2;
    spec.text.context = 24;
    spec.embed_dim = 32;
  }
  return spec;
}

void step(const Bench& bench, const std::string& name, std::int64_t batch, int steps,
          const std::string& how) {
  using namespace stages::train;
  const bool bf16 = !bench.device.is_cpu(), graphs = how == "graphs", both = how == "alip_diht";
  at::manual_seed(1);  // the same rows on every device, with and without graphs
  models::DualEncoder encoder(model_of(name), 0);
  encoder.to(bench.device.str());
  DualEncoderOptions options;
  options.device = bench.device.str();
  if (both) {
    options.loss.contrastive = {.smoothing = 0.1, .alpha = 0.999, .beta = 0.25};
    options.loss.gates = losses::GateOptions{};
    options.loss.head_weights = {1};
    options.heads = {{.name = "concepts", .concepts = 100}};
  }
  DualEncoderModel model(encoder, options);
  SlotPool pool(1, 1, {});
  TrainingStep training(
      model, *bench.group, pool,
      {.slots = 1, .bf16 = bf16, .schedule = {.peak = 1e-4, .total_steps = 1000}, .graphs = graphs});
  const auto& spec = encoder.spec();
  SlotInput input;
  const auto words = [&] {
    return at::randint(5, encoder.tokenizer().vocabulary_size(), {batch, spec.text.context}, at::kLong)
        .to(bench.device);
  };
  input.image_BCHW =
      at::randn({batch, 3, spec.image.image_px, spec.image.image_px}, at::kFloat).to(bench.device);
  input.tokens_BL = words();
  if (both) {
    input.caption_tokens_BL = words();
    input.targets = {{at::randint(100, {batch, 3}, at::kLong).to(bench.device),
                      at::full({batch, 3}, 1.0 / 3, at::kFloat).to(bench.device)}};
  }
  input.live_B = at::ones({batch}, at::kByte);
  // As the stage does it: where steps are read later, one is launched before the one before it is read.
  std::vector<double> times, values;
  std::deque<StepResult> launched;
  auto begin = Clock::now();
  for (int i = 0; i < steps || !launched.empty(); ++i) {
    if (i < steps) launched.push_back(training.launch({input}, i));
    if (i < steps && launched.size() == 1 && training.reads_later()) continue;
    training.read(launched.front());
    values.push_back(launched.front().loss.value);
    launched.pop_front();
    if (!training.reads_later()) wait_for(model.temperature());
    times.push_back(since(begin));
    begin = Clock::now();
  }
  const double first = values.front(), last = values.back();
  times.erase(times.begin(), times.begin() + std::min(3, steps - 1));
  std::sort(times.begin(), times.end());
  const double rate = static_cast<double>(batch) / times[times.size() / 2], peak = bench.peak_gib();
  const double flops = rate * pair_flops(encoder, false, false), most = matmul_rate(bench.device.str(), bf16);
  say({{"model", name},
       {"batch", batch},
       {"precision", bf16 ? "bf16" : "float32"},
       {"read", training.reads_later() ? "later" : "at once"},
       {"path", bench.path()},
       {"first_loss", first},
       {"last_loss", last},
       {"samples_per_second", rate},
       {"mfu", flops / most},
       {"model_tflops", flops / 1e12},
       {"matmul_tflops", most / 1e12},
       {"peak_gib", peak}});
}

void rate_of(const char* name, std::int64_t batch, int rounds, const std::function<void()>& pass) {
  double seconds = 1e9;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = Clock::now();
    pass();
    seconds = std::min(seconds, since(begin));
  }
  say({{"pass", name}, {"batch", batch}, {"images_per_second", static_cast<double>(batch) / seconds}});
}

jobs::ModelSpec captioner_spec(bool small) {
  jobs::ModelSpec spec;
  spec.image.image_px = small ? 32 : 384;
  spec.image.patch_px = 16;
  spec.image.ln_pre = false;
  spec.image.patch_bias = true;
  spec.text.kind = jobs::TextTowerKind::kDecoder;
  spec.text.width = small ? 64 : 768;
  spec.text.heads = small ? 2 : 12;
  if (small) {
    spec.image.width = 64;
    spec.image.layers = spec.text.layers = 2;
    spec.image.heads = 2;
  }
  spec.text.extra_tokens = 2;
  spec.text.tokenizer.kind = jobs::TokenizerKind::kWordPiece;
  spec.text.tokenizer.vocabulary = "pretrained:minilm";
  return spec;
}

void passes(const Bench& bench, std::int64_t batch, int rounds, bool small) {
  const at::NoGradGuard no_gradients;
  const models::Autocast autocast(bench.device.str(), !bench.device.is_cpu());
  const auto options = at::TensorOptions(bench.device);
  for (const char* name : {"embed", "teacher"}) {
    jobs::ModelSpec spec = model_of(small ? "tiny" : "b32");
    if (std::string(name) == "teacher") {
      spec.image = jobs::ImageTowerSpec{};
      spec.image.kind = *from_name<jobs::ImageTowerKind>("efficientnet_lite0");
      spec.image.image_px = small ? 64 : 224;
    }
    models::DualEncoder model(spec, 0);
    model.to(bench.device.str());
    const at::Tensor images = at::randn({batch, 3, spec.image.image_px, spec.image.image_px}, options);
    rate_of(name, batch, rounds, [&] { wait_for(model.encode_image(images)); });
  }
  models::DualEncoder model(captioner_spec(small), 1);
  model.to(bench.device.str());
  const models::Captioner captioner(model);
  models::DecodingOptions decoding;
  const auto start = captioner.start("a picture of ");
  decoding.max_length = static_cast<std::int64_t>(start.size()) + 20;
  decoding.rules.min_length = decoding.max_length;
  const auto few = std::max<std::int64_t>(1, batch / 4), px = model.spec().image.image_px;
  const at::Tensor images = at::randn({few, 3, px, px}, options);
  rate_of("caption", few, rounds, [&] { static_cast<void>(captioner.write(images, start, decoding)); });
}

void answer(const std::vector<std::string>& words) {
  const auto number = [&](std::size_t i, std::int64_t otherwise) {
    return i < words.size() ? std::stoll(words[i]) : otherwise;
  };
  if (words.size() < 2) throw Error(ErrorKind::kUsage, "gpu_check QUESTION DEVICE …");
  const std::string& question = words[0];
  if (question == "load") return load();
  const Bench bench(words[1]);
  if (question == "tiles") return tiles(bench);
  if (question == "loss") return loss(bench, number(2, 1000), number(3, 256));
  if (question == "memory") return memory(bench, number(2, 32768), number(3, 512));
  if (question == "step")
    return step(bench, words.at(2), number(3, 256), static_cast<int>(number(4, 10)),
                words.size() > 5 ? words[5] : "");
  if (question == "passes")
    return passes(bench, number(2, 256), static_cast<int>(number(3, 3)), words.size() > 4);
  throw Error(ErrorKind::kUsage, "no question '" + question + "'");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    answer({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    ::_exit(1);
  }
  std::fflush(stdout);
  ::_exit(0);  // no need to wait for gigabytes to be given back
}
