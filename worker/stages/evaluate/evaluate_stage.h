// evaluate: one merge over the embeddings of a data set (features of space "shared") and the trained model.
// Labels make it zero-shot classification, captions make it retrieval; "auto" prefers labels. Writes
// `.evaluation.json` as CLIP_benchmark 1.6.1 does; the summary holds the metrics, what chance would give, and
// how many images, captions or classes there were.
//
// Class names come from DataSpec::classes or classnames.txt beside the shards; prompts from the stage's
// templates, else zeroshot_classification_templates.txt beside the shards, else "a photo of a {c}.". The
// summary also holds the result of the bare class names (METHODS 7.1). linear_probe, knn and few_shot learn
// from the image embeddings of `train_data`, after the projection, and need labels in both
// (METHODS 2.6, 7.3, 7.4).
#pragma once

#include <map>
#include <string>
#include <utility>

#include "common/io/folder.h"
#include "worker/checkpoint/features.h"
#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::evaluate {

// kZeroShot or kRetrieval for a setting of kAuto, kZeroShot, kRetrieval. Throws kInvalid naming the
// data set when it lacks what is asked for.
jobs::EvaluateTask choose_task(jobs::EvaluateTask wanted, const checkpoint::Features& features,
                               const std::string& data);

class EvaluateStage : public runtime::StageOf<jobs::TaskKind::kEvaluate, jobs::EvaluateSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;

 private:
  // xxh3 of a file of weights, in hex; read once while it stays what it is.
  std::string hash_of(const io::Path& weights);

  std::map<std::string, std::pair<io::FileStatus, std::string>> hashed_;  // by path
};

}  // namespace trireme::worker::stages::evaluate
