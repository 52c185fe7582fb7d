#include "worker/data/tallies/pair_counts.h"
#include "worker/stages/pair_counts/pair_counts_stage.h"

namespace trireme::worker::stages::pair_counts {
namespace {

std::vector<data::PairsFile> open_pairs(const runtime::OpenedTask& task) {
  std::vector<data::PairsFile> files;
  for (const auto& path : task.inputs.paths(jobs::Role::kPairs)) {
    auto& file = files.emplace_back(path);
    if (file.partitions() != task.parts()) {
      throw Error(ErrorKind::kInternal, path + " has " + std::to_string(file.partitions()) +
                                            " partitions, the merge of stage '" + task.stage() +
                                            "' expects " + std::to_string(task.parts()));
    }
  }
  return files;
}

std::int64_t signed_count(std::uint64_t count) {
  return static_cast<std::int64_t>(count);
}

}  // namespace

jobs::TaskDone PairCountsMergeStage::work(const Task& task, runtime::TaskContext& context) {
  const auto files = open_pairs(task);
  context.stop->throw_if_stopped();
  const auto texts = data::merge_pairs(files, data::PairFamily::kText, task.part());
  context.stop->throw_if_stopped();
  if (context.progress) context.progress(1, 2);
  const auto images = data::merge_pairs(files, data::PairFamily::kImage, task.part());
  context.stop->throw_if_stopped();
  data::write_counts(task.output(), task.part(), task.parts(), texts.repeated, images.repeated);
  jobs::TaskDone result;
  result.counts = {{"texts", signed_count(texts.keys)},
                   {"images", signed_count(images.keys)},
                   {"texts_shared", signed_count(texts.repeated.size())},
                   {"images_shared", signed_count(images.repeated.size())}};

  if (context.progress) context.progress(2, 2);
  return result;
}

}  // namespace trireme::worker::stages::pair_counts
