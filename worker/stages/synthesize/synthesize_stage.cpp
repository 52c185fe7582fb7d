#include "worker/stages/synthesize/synthesize_stage.h"

#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/machine/aside.h"
#include "jobs/specification/job_spec.h"
#include "worker/data/shards/tar_writer.h"
#include "worker/runtime/parallel.h"
#include "worker/stages/synthesize/captions.h"
#include "worker/stages/synthesize/concepts.h"
#include "worker/stages/synthesize/sample_plan.h"

namespace trireme::worker::stages::synthesize {
namespace {
constexpr std::int64_t kChunk = 256;  // samples rendered together, then written in order

struct Rendered {
  SamplePlan plan;
  std::string jpeg;
};

std::string caption_lines(const SamplePlan& plan) {
  std::string lines;
  for (const auto& caption : plan.captions) lines += (lines.empty() ? "" : "\n") + caption;
  return lines;
}

void write_sample(data::TarWriter& tar, const Rendered& sample) {
  const std::string key = key_of(sample.plan.id);
  tar.add(key + ".jpg", sample.jpeg);
  tar.add(key + ".json", nlohmann::json{{"key", key},
                                        {"caption", sample.plan.captions.front()},
                                        {"status", "success"},
                                        {"synthetic_caption", coarse_caption(sample.plan.scene)},
                                        {"objects", object_concepts(sample.plan.scene)},
                                        {"attributes", attribute_concepts(sample.plan.scene)}}
                             .dump());
  tar.add(key + ".txt", caption_lines(sample.plan));
}

std::int64_t first_of(const runtime::OpenTask<jobs::SyntheticSpec>& task, std::int64_t shard) {
  return shard * task.settings.samples / task.parts();
}
}  // namespace

jobs::TaskDone SynthesizeStage::work(const Task& task, runtime::TaskContext& context) {
  if (task.parts() < 1 || task.part() < 0 || task.part() >= task.parts())
    throw Error(ErrorKind::kInternal, task.stage() + ": shard " + std::to_string(task.part()) + " of " +
                                          std::to_string(task.parts()));
  const Planner planner(task.settings);
  const std::int64_t begin = first_of(task, task.part()), end = first_of(task, task.part() + 1);
  const io::Path tar_path = task.output();
  io::make_folders(tar_path.parent_path());
  const io::Aside aside(tar_path);
  data::TarWriter tar(aside.path());
  std::string truth;
  jobs::TaskDone done;
  for (std::int64_t chunk = begin; chunk < end; chunk += kChunk) {
    std::vector<Rendered> samples(static_cast<std::size_t>(std::min(kChunk, end - chunk)));
    runtime::parallel_for(static_cast<std::int64_t>(samples.size()), context.threads, context.stop,
                          [&](std::int64_t i) {
                            Rendered& sample = samples[static_cast<std::size_t>(i)];
                            sample.plan = planner.plan(chunk + i);
                            sample.jpeg = planner.picture(sample.plan);
                          });
    for (const Rendered& sample : samples) {
      write_sample(tar, sample);
      truth += Planner::truth_line(sample.plan) + "\n";
      ++done.counts["in"];
      if (sample.plan.noise != Noise::kNone)
        ++done.counts["noise." + std::string(name_of(sample.plan.noise))];
    }
    if (context.progress) context.progress(std::min(chunk + kChunk, end) - begin, end - begin);
  }
  tar.finish();
  io::rename_durably(aside.path(), tar_path);
  io::write_file_atomic(task.beside(), truth);

  return done;
}

}  // namespace trireme::worker::stages::synthesize
