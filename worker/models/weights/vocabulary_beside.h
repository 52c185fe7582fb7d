// The tokenizer's own files beside a checkpoint's weights: with another vocabulary of the same size every
// token would be another, and no tensor shows it.
#pragma once

#include "common/io/file.h"
#include "jobs/specification/model_spec.h"
#include "worker/models/weights/tower_weights.h"

namespace trireme::worker::models {

// Compares the ids of vocab.json, vocab.txt or tokenizer.json, or a SentencePiece model, with those of
// `words.vocabulary`, and for CLIP's whether tokenizer.json lower-cases. A file that is not there says
// nothing.
void check_vocabulary_beside(const io::Path& folder, const jobs::TokenizerSpec& words, WeightFaults& faults);

}  // namespace trireme::worker::models
