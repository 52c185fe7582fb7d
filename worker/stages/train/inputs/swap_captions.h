// Wrong pairs on purpose, to measure robustness on real data (jobs::SwapCaptionsSpec).
#pragma once

#include "jobs/specification/stages/stage_spec.h"
#include "worker/stages/train/inputs/data_set.h"

namespace trireme::worker::stages::train {

// Fills DataSet::texts_of. The kept samples are ordered by a number drawn from (spec.seed, shard sha256,
// sample); the first round(share * n) of them take each the captions of the next, the last those of the
// first, so that every caption is shown as often as before. Each of them then has another sample's captions,
// whatever these say. Nothing to do where that are fewer than two. The same for any number of workers.
void swap_captions(DataSet& set, const jobs::SwapCaptionsSpec& spec);

}  // namespace trireme::worker::stages::train
