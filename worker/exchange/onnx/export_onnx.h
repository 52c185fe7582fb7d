// A dual encoder as two ONNX files: image.onnx and text.onnx, onnx_config.json, and the files of the
// tokenizer where transformers or SentencePiece know its kind.
#pragma once

#include <cstddef>
#include <string>

namespace trireme::worker::exchange {

// A tower of more than 2 GiB has its larger tensors in image.onnx.data and text.onnx.data (ONNX's external
// data). Throws kInvalid for captioners, models of standardised features, and tokenizers of our own (unless
// `tokenizer` is false).
void export_onnx(const std::string& model_folder, const std::string& folder, bool tokenizer);
// The same with another limit than 2 GiB.
void export_onnx(const std::string& model_folder, const std::string& folder, bool tokenizer,
                 std::size_t most_bytes);

}  // namespace trireme::worker::exchange
