// embed: towers over a range of samples, stored as `.features.safetensors` (worker/checkpoint/features.h).
//
// Without an input of role "model": the frozen towers of Task::model, before the projections (space "tower").
// With one (evaluate and index): both towers and projections of that trained model (space "shared"); where an
// input of role "features" holds a frozen tower's outputs for the range, they are projected instead of
// running that tower again. Role "verdicts" leaves dropped samples out. All captions of a sample are
// embedded, in their order; a labelled sample without text has the data set's caption_templates, none in the
// shared space.
//
// Without a model in its settings (evaluate, of several models that see pictures alike): no tower is run, the
// pictures of the range stay as Task::model sees them (worker/embedding/kept_pictures.h). Where an input
// holds them they stand for the shard's, and the model's own task has the same bits. Counts: decoded,
// undecodable; of the model's own task kept_pictures.
//
// Batches are consecutive runs of the range's samples and every batch is computed with one intra-op thread,
// TaskContext::threads of them side by side: the bytes depend on the range, not on the machine's cores.
// Undecodable samples are left out and counted as bad.<reason>. Counts: in, embedded, captions,
// truncated_captions.
#pragma once

#include "worker/embedding/kept_model.h"
#include "worker/runtime/open_task.h"

namespace trireme::worker::stages::embed {

class EmbedStage : public runtime::StageOf<jobs::TaskKind::kEmbed, jobs::EmbedSettings> {
 protected:
  jobs::TaskDone work(const Task& task, runtime::TaskContext& context) override;

 private:
  embedding::KeptModel model_;
};

}  // namespace trireme::worker::stages::embed
