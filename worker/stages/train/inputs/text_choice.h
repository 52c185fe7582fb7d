// Which texts a training learns from (jobs::LossSpec::texts), and where synthetic captions come from
// (jobs::TrainSettings::synthetic_caption): a field of the samples' .json, the sidecars of a stage, which
// were joined when the data was loaded, or one of the samples' own.
#pragma once

#include <cstdint>
#include <string>

#include "jobs/specification/job_spec.h"
#include "worker/data/batches/loader.h"
#include "worker/stages/train/inputs/data_set.h"

namespace trireme::worker::stages::train {

struct TextChoice {
  bool raw = true, synthetic = false;
  std::string source;             // of synthetic captions, as the setting says it
  bool from_stage = false;        // that source is a stage
  std::int64_t own_caption = -1;  // index of the own caption that stands for a synthetic one
};

// Throws kInvalid when none of the first kept samples has the captions that are asked for.
TextChoice text_choice(const DataSet& set, const jobs::TrainSettings& settings);

void ask_for_texts(const TextChoice& texts, const DataSet& set, data::LoaderOptions& options);

// Throws kInvalid when none of the first kept samples has the field.
void require_synthetic_captions(const DataSet& set, const std::string& field);

}  // namespace trireme::worker::stages::train
