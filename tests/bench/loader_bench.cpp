// Loader on one core: images per CPU second over real photographs, with open_clip's training augmentation
// (RandomResizedCrop 224, scale 0.9-1, bicubic, CLIP mean and std), full and scaled decode, and how far
// scaled decode moves the pixels. The peer is webdataset + Pillow + open_clip's transform on the same tar.
//
//   loader_bench <tar> [rounds] [image_px]
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "worker/data/batches/loader.h"

namespace trireme::worker::data {
namespace {

constexpr Normalization kClip{{0.48145466F, 0.4578275F, 0.40821073F},
                              {0.26862954F, 0.26130258F, 0.27577711F}};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

struct Data {
  std::shared_ptr<const ShardReader> reader;
  std::string sha256;
  std::shared_ptr<const SampleOrder> order;
};

Data open(const std::string& tar) {
  const auto index =
      std::filesystem::temp_directory_path() / ("loader-bench-" + std::to_string(getpid()) + ".idx");
  const ShardScan scan = build_shard_index(tar, jobs::DataFormat::kClipBenchmark, {}, index);
  Data data{std::make_shared<ShardReader>(tar, index), scan.sha256, nullptr};
  std::filesystem::remove(index);
  ManifestShard shard{scan.sha256, scan.samples, 1, {}};
  for (std::int32_t i = 0; i < scan.samples; ++i) shard.kept.push_back(i);
  data.order = std::make_shared<SampleOrder>(std::vector{shard}, 1);
  return data;
}

std::unique_ptr<BatchLoader> loader(const Data& data, bool scaled, std::int64_t px) {
  LoaderOptions options;
  options.global_batch = 50;
  options.logical_slots = 1;
  options.last_slot = 1;
  options.image_px = px;
  options.normalization = kClip;
  options.scaled_decode = scaled;
  return std::make_unique<BatchLoader>(std::vector{data.reader}, std::vector{data.sha256}, data.order,
                                       std::vector<std::string>{}, std::vector<std::string>{}, options);
}

// Images per CPU second of one epoch.
double rate(const Data& data, bool scaled, std::int64_t px) {
  const auto source = loader(data, scaled, px);
  const std::int64_t steps = steps_per_epoch(data.order->epoch_size(0), 50);
  source->next();
  const double start = cpu_seconds();
  double images = 0;
  for (std::int64_t i = 0; i < 2 * steps; ++i) {
    const auto step = source->next();
    images += static_cast<double>(std::count(step.slots[0].live.begin(), step.slots[0].live.end(), 1));
  }
  return images / (cpu_seconds() - start);
}

// Mean absolute difference of scaled against full decode in levels of 255, over the images that differ at
// all, and how many those are.
void compare(const Data& data, std::int64_t px) {
  const auto full = loader(data, false, px), scaled = loader(data, true, px);
  double sum = 0;
  std::int64_t differing = 0, images = 0;
  for (std::int64_t i = 0; i < steps_per_epoch(data.order->epoch_size(0), 50); ++i) {
    const auto a = full->next(), b = scaled->next();
    const float *x = a.slots[0].image_BCHW.data_ptr<float>(), *y = b.slots[0].image_BCHW.data_ptr<float>();
    for (std::size_t row = 0; row < a.slots[0].live.size(); ++row, x += 3 * px * px, y += 3 * px * px) {
      double levels = 0;
      for (std::int64_t p = 0; p < 3 * px * px; ++p) {
        levels += std::abs(x[p] - y[p]) * 255 * kClip.std[static_cast<std::size_t>(p / (px * px))];
      }
      images += a.slots[0].live[row];
      if (levels == 0) continue;
      ++differing;
      sum += levels / static_cast<double>(3 * px * px);
    }
  }
  std::printf("scaled decode at %lld px: %lld of %lld images decoded smaller, mean difference %.2f levels\n",
              static_cast<long long>(px), static_cast<long long>(differing), static_cast<long long>(images),
              differing > 0 ? sum / static_cast<double>(differing) : 0.0);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void measure(const std::string& tar, int rounds, std::int64_t px) {
  const Data data = open(tar);
  std::vector<double> full, scaled;
  for (int i = 0; i < rounds; ++i) {
    full.push_back(rate(data, false, px));
    scaled.push_back(rate(data, true, px));
  }
  std::printf("images per CPU second at %lld px, median of %d: full decode %.0f, scaled decode %.0f\n",
              static_cast<long long>(px), rounds, median(full), median(scaled));
  compare(data, px);
}

}  // namespace
}  // namespace trireme::worker::data

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: loader_bench <tar> [rounds] [image_px]\n");
    return 2;
  }
  trireme::worker::data::measure(argv[1], argc > 2 ? std::atoi(argv[2]) : 5,
                                 argc > 3 ? std::atoi(argv[3]) : 224);
  return 0;
}
