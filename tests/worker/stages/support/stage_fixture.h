// Small shards, tasks and models in a temporary folder for tests of stages.
#pragma once

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/io/file.h"
#include "jobs/specification/job_spec.h"
#include "tests/support/tar_writer.h"
#include "worker/data/images/image.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/runtime/stage.h"

namespace trireme::testing {

struct TestSample {
  std::string key, image;
  std::string text;   // ".txt" member, one caption per line for clip_benchmark; none when empty
  std::string label;  // ".cls" member; none when empty
};

// A smooth picture that differs by `seed`, as JPEG.
inline std::string test_jpeg(std::int64_t width, std::int64_t height, int seed) {
  worker::data::Image image{width, height, {}};
  for (std::int64_t y = 0; y < height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        const double phase = 0.7 * seed + c;
        const double value =
            127 + 120 * std::sin(phase * 1.3 + 0.02 * static_cast<double>(x) * (1 + seed % 5) +
                                 0.03 * static_cast<double>(y) * (1 + seed % 3));
        image.rgb.push_back(static_cast<std::uint8_t>(value));
      }
    }
  }
  return worker::data::encode_jpeg(image, 90);
}

// A data set as the job file would name it: the least that is valid.
inline jobs::DataSpec test_data() {
  jobs::DataSpec data;
  data.sources.push_back({.path = "shards"});
  return data;
}

class StageTest : public ::testing::Test {
 protected:
  StageTest() {
    folder_ = std::filesystem::temp_directory_path() /
              ("trireme-stage-" + std::to_string(::getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    context_.stop = &stop_;
    context_.threads = 2;
  }
  ~StageTest() override { std::filesystem::remove_all(folder_); }

  // Writes a tar and its index; a map task over all of it that reads both.
  jobs::Task shard_task(const std::string& name, const std::vector<TestSample>& samples,
                        jobs::DataFormat format = jobs::DataFormat::kClipBenchmark) {
    TarWriter tar;
    for (const auto& sample : samples) {
      if (!sample.label.empty()) tar.add(sample.key + ".cls", sample.label);
      tar.add(sample.key + ".jpg", sample.image);
      if (!sample.text.empty()) tar.add(sample.key + ".txt", sample.text);
    }
    const auto path = folder_ / (name + ".tar"), index = folder_ / (name + ".idx");
    io::write_file_atomic(path, tar.bytes(), false);
    const auto scan = worker::data::build_shard_index(path, format, {}, index);
    jobs::Task task;
    task.stage = "stage";
    task.data = jobs::data_json(test_data());
    task.shard = jobs::ShardRef{.data = "train", .path = path.string(), .format = format};
    task.shard->samples = scan.samples;
    task.count = scan.samples;
    task.inputs = {input(jobs::Role::kShardIndex, index.string())};
    task.output = (folder_ / ("out-" + name)).string();
    return task;
  }

  static jobs::InputFile input(jobs::Role role, const std::string& path) {
    jobs::InputFile file;
    file.role = role;
    file.data = "train";
    file.shard = 0;
    file.path = path;
    return file;
  }

  // Makes a merge task read these lines.
  void set_inputs(jobs::Task& task, const std::vector<jobs::InputsLine>& lines) {
    std::string text;
    for (const auto& line : lines) text += jobs::to_json(line) + "\n";
    task.inputs_file = (folder_ / "inputs.jsonl").string();
    io::write_file_atomic(task.inputs_file, text, false);
  }

  std::string out(const std::string& name, const std::string& extension) const {
    return (folder_ / ("out-" + name)).string() + extension;
  }

  std::filesystem::path folder_;
  worker::runtime::StopRequest stop_;
  worker::runtime::TaskContext context_;
};

// Two small towers over 32 px pictures.
inline jobs::ModelSpec small_model(bool frozen) {
  jobs::ModelSpec spec;
  spec.image.frozen = spec.text.frozen = frozen;
  spec.image.image_px = 32;
  spec.image.patch_px = 16;
  spec.image.width = spec.text.width = 32;
  spec.image.layers = spec.text.layers = 1;
  spec.image.heads = spec.text.heads = 2;
  spec.text.tokenizer.buckets = 256;
  spec.text.context = 16;
  spec.embed_dim = 16;
  return spec;
}

}  // namespace trireme::testing
