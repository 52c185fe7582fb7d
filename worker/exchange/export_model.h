// A trained model as a folder that others load as it is:
//   open_clip  open_clip_config.json, open_clip_model.safetensors
//              open_clip.create_model_and_transforms("local-dir:FOLDER"); a vit with the transformer and
//              CLIP's byte-pair vocabulary
//   hf         config.json, model.safetensors, preprocessor_config.json and the tokenizer's files
//              CLIPModel.from_pretrained(FOLDER) for a vit with the transformer, AlignModel for an
//              efficientnet b0 … l2 without image projection beside a bert whose first token is read,
//              BlipForConditionalGeneration for a captioner (export_captioner.h)
// Each holds what reproduces our embeddings there: weights, activation, preprocessing, tokenizer.
#pragma once

#include <string>

namespace trireme::worker::exchange {

// `model`: folder of a train stage, or of a run (its final/). With `tokenizer` false a tokenizer that has no
// equal there (hashed_words) is left out instead of being an error. Throws kInvalid naming the field that the
// other side cannot express.
void export_open_clip(const std::string& model, const std::string& folder, bool tokenizer);
void export_hf(const std::string& model, const std::string& folder, bool tokenizer);

// `trireme export --to open_clip|hf|onnx MODEL FOLDER [--without-tokenizer]`; argv[0] is the tool's name.
int run_export(int argc, char** argv);

}  // namespace trireme::worker::exchange
