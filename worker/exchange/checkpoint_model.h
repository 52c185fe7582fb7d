// A checkpoint of any known layout as a model of ours: the specification that fits, and its tensors under our
// names. A captioner's text part is its decoder; how many ids stand behind its tokenizer's vocabulary is not
// to be seen in the weights, so transformers' BLIP is taken to have its usual 2, others none. What the
// weights do not show comes from the config beside them (jobs/checkpoint), else it is the usual: heads =
// width / 64, the exact GELU, CLIP's pooling.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "jobs/specification/model_spec.h"
#include "worker/checkpoint/name_map.h"
#include "worker/checkpoint/safetensors.h"

namespace trireme::worker::exchange {

struct CheckpointModel {
  std::string file;  // the safetensors file
  checkpoint::Layout layout = checkpoint::Layout::kTrireme;
  jobs::ModelSpec spec;  // of the towers that are there
  bool image = false, text = false;
  bool own = false;  // a folder that a train stage wrote: its config.json says everything
  std::int64_t vocabulary_size = 0;
  std::vector<std::string>
      refused;  // what the config beside asks for in vain: the spec is not the model then
};

// `path`: a file or a checkpoint's folder. Throws kNotFound, kDamaged, and kInvalid for unknown layouts and
// towers that fit no kind of ours.
CheckpointModel recognise(const std::string& path);
// Of a file that is open already; `path`: its resolved name.
CheckpointModel recognise(const std::string& path, const checkpoint::SafetensorsFile& file);

// Every tensor of the towers that are there, projections and temperature too, float32, in our order.
std::vector<std::pair<std::string, at::Tensor>> read_tensors(const CheckpointModel& model);

}  // namespace trireme::worker::exchange
