// index: one merge over the embeddings of a data set (features of space "shared"): a searchable folder.
//
//   <output>/embeddings.safetensors   image float32 [N, D], rows of norm 1
//   <output>/items.jsonl              line i describes row i: {"key","shard","sample","captions"}
//   <output>/model/                   the model that embedded them, hard-linked where the file system allows
//   <output>/manifest.json            format, version, counts, shards (path, index, format), hashes of the
//   files
//
// The folder needs nothing else to answer text and image queries; the original shards only for pictures.
#pragma once

#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::index {

class IndexStage : public runtime::StageOf<jobs::TaskKind::kIndex, jobs::IndexSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;
};

}  // namespace trireme::worker::stages::index
