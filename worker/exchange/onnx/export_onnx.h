// A dual encoder as two ONNX files: image.onnx and text.onnx, onnx_config.json, and the files of the
// tokenizer where transformers or SentencePiece know its kind.
#pragma once

#include <string>

namespace trireme::worker::exchange {

// Throws kInvalid for captioners, models of standardised features, tokenizers of our own (unless `tokenizer`
// is false), and towers of more than 2 GiB.
void export_onnx(const std::string& model_folder, const std::string& folder, bool tokenizer);

}  // namespace trireme::worker::exchange
