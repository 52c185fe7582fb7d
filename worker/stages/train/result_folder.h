// The output of a train stage: a model folder (model.safetensors, config.json, the tokenizer's vocabulary;
// with concept heads concepts.safetensors and concepts.json), log.jsonl, signals.json and, last,
// manifest.json with size and xxh3 of each file. Built beside its place and renamed.
#pragma once

#include <string>

#include "jobs/protocol/messages.h"
#include "worker/models/dual_encoder.h"
#include "worker/models/towers/concept_heads.h"

namespace trireme::worker::stages::train {

// Leaves the folder at task.output + "/"; an older one there is replaced. `log`: path of the step log,
// `signals_json`: see SignalTally. `heads` may have no list.
jobs::OutputFile write_result(const jobs::Task& task, const models::DualEncoder& encoder,
                              const models::SavedHeads& heads, const std::string& log,
                              const std::string& signals_json, const std::string& provenance_json);

}  // namespace trireme::worker::stages::train
