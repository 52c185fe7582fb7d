// Everything a training run needs to go on at a step as if nothing had happened, and its files:
// model.safetensors (trainable parameters, standardisation buffers; metadata "state": JSON of Progress),
// optimizer.safetensors, average.safetensors where weights are averaged, training.safetensors where an
// objective has state of its own (gates, concept heads, sigma, bias), and best.safetensors where evaluation
// chooses the result. Loadable at any number of workers.
#pragma once

#include <cstdint>
#include <string>

#include "worker/models/dual_encoder.h"
#include "worker/stages/train/step/learner.h"

namespace trireme::worker::stages::train {

// Where training stands after `step` steps.
struct Progress {
  std::uint64_t seed = 0;
  std::string manifest_hash;
  std::int64_t step = 0, epoch = 0, samples = 0;
  std::int64_t rollbacks = 0;   // returns to a checkpoint, see jobs::GuardSpec
  std::int64_t best_step = -1;  // -1: nothing was evaluated yet
  double best_metric = 0;
};
std::string to_json(const Progress& progress, int world_size);
Progress progress_from_json(const std::string& text);

// Copies on the host; nothing in it shares memory with the model.
struct TrainState {
  Progress progress;
  NamedTensors model, optimizer;
  NamedTensors average;   // WeightAverage::state(), empty when off
  NamedTensors training;  // Learner::state() and the signals; may be empty
  NamedTensors best;      // model tensors and Objective::beside_encoder() at best_step, empty without one
};

// Copies on the host.
NamedTensors on_host(const NamedTensors& tensors);

// Trainable parameters and standardisation buffers, copied to the host.
NamedTensors model_tensors(models::DualEncoder& encoder);
void load_model_tensors(models::DualEncoder& encoder, const NamedTensors& tensors);

// The newest checkpoint of this step that is of the task with this address: where other settings have taken
// the name step-00001234, it is step-00001234-<address> (FORMAT.md). Throws kNotFound.
std::string find_checkpoint(const std::string& checkpoint_folder, std::int64_t step,
                            const std::string& address);

// Reads a checkpoint folder. Throws kDamaged or kNotFound naming the file.
TrainState read_state(const std::string& folder);

}  // namespace trireme::worker::stages::train
