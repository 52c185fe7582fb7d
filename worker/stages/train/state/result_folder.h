// The output of a train stage: a model folder (model.safetensors, config.json, the tokenizer's vocabulary;
// with concept heads concepts.safetensors and concepts.json), log.jsonl, signals.json and, last,
// manifest.json with size and xxh3 of each file. Built beside its place and renamed.
#pragma once

#include <functional>
#include <string>

#include "common/io/file.h"
#include "jobs/protocol/messages.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::stages::train {

// Leaves the folder at task.output + "/"; an older one there is replaced. The step log is that of
// task.stage_folder; `signals_json`: see SignalTally; `add` puts more files into the folder.
jobs::OutputFile write_result(const jobs::Task& task, const models::DualEncoder& encoder,
                              const std::string& signals_json,
                              const std::function<void(const io::Path& folder)>& add);

}  // namespace trireme::worker::stages::train
