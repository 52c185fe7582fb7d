// Concept heads among a run's tensors, and as the model folder keeps them.
#pragma once

#include "jobs/specification/stages/concepts_spec.h"
#include "worker/models/towers/concept_heads.h"
#include "worker/stages/train/trainable_model.h"

namespace trireme::worker::stages::train {

// Those whose names are of heads' parameters, "concepts.…".
NamedTensors heads_of(const NamedTensors& tensors);

// `tensors` have every head of `spec`; copied to the host.
models::SavedHeads saved_heads(const jobs::ConceptsSpec& spec, const NamedTensors& tensors);

}  // namespace trireme::worker::stages::train
