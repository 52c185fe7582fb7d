// pair_scores: how well image and text of every sample of a range fit by a model, for a filter's column rules
// (CLIP score: METHODS 2.2; DataComp's filters, FORMATS 3): the largest cosine, in float64, of the image's
// embedding with those of its captions. Reads the embeddings that an embed task left for the range (role
// "features"): of the shared space as they are; of the towers through the projections of Task::model. Output
// `.scores.jsonl` (worker/data/batches/scores.h). A sample without an embedding (undecodable, dropped before)
// has no score. Counts: scored, no_caption (labelled, without text), not_finite (an embedding that is zero or
// not finite).
#pragma once

#include "worker/embedding/kept_model.h"
#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::pair_scores {

class PairScoresStage : public runtime::StageOf<jobs::TaskKind::kPairScores, jobs::PairScoresSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;

 private:
  embedding::KeptModel model_;
};

}  // namespace trireme::worker::stages::pair_scores
