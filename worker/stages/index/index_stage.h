// index: the merge that makes a searchable folder of the segments of a data set (segment_stage.h): it links
// them and writes the manifest; vectors are read only for lists, which an approximate index has, and what
// they find of an exact search is measured.
//
//   <output>/manifest.json       what is there, hashes, shards, measured recall (worker/search/manifest.h)
//   <output>/segments/*.segment  of ranges that hold anything, hard-linked where the file system allows
//   <output>/lists.safetensors   of an index of many rows (worker/search/lists.h)
//   <output>/model/              the model that embedded them, hard-linked too
//
// The folder needs nothing else to answer text and image queries; the original shards only for pictures.
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::index {

inline constexpr std::int64_t kListsFromRows = 200000;  // below, an exact search takes some 20 ms

class IndexStage : public runtime::StageOf<jobs::TaskKind::kIndex, jobs::IndexSettings> {
 public:
  explicit IndexStage(std::int64_t lists_from = kListsFromRows) : lists_from_(lists_from) {}

 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;

 private:
  const std::int64_t lists_from_;
};

}  // namespace trireme::worker::stages::index
