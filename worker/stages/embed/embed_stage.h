// embed: towers over a range of samples, stored as `.features.safetensors` (worker/checkpoint/features.h).
//
// Without an input of role "model": the frozen towers of Task::model, before the projections (space "tower").
// With one (evaluate and index): both towers and projections of that trained model (space "shared"); where an
// input of role "features" holds a frozen tower's outputs for the range, they are projected instead of
// running that tower again. Role "verdicts" leaves dropped samples out. All captions of a sample are
// embedded, in their order; a labelled sample without text has the data set's caption_templates, none in the
// shared space.
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
