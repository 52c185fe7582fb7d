#include "worker/exchange/onnx/export_onnx.h"

#include <cmath>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/io/folder.h"
#include "worker/exchange/export_parts.h"
#include "worker/exchange/hf_tokenizer.h"
#include "worker/exchange/onnx/onnx_layers.h"

namespace trireme::worker::exchange {
namespace {

using nlohmann::ordered_json;

ordered_json config_of(models::DualEncoder& model) {
  const jobs::ModelSpec& spec = model.spec();
  ordered_json text{{"file", "text.onnx"},
                    {"input", "input_ids"},
                    {"output", "text_embeds"},
                    {"context", spec.text.context},
                    {"padded_to_context", onnx_text_is_padded(spec.text)},
                    {"pad_id", model.tokenizer().pad_id()}};
  return {{"format", "trireme-onnx/1"},
          {"embed_dim", spec.embed_dim},
          {"logit_scale", std::exp(model.logit_scale().item<double>())},
          {"image",
           {{"file", "image.onnx"},
            {"input", "pixel_values"},
            {"output", "image_embeds"},
            {"image_px", spec.image.image_px}}},
          {"text", text},
          {"trireme_model", model_text(spec)}};
}

void write_tokenizer(const models::DualEncoder& model, const io::Path& to) {
  switch (model.spec().text.tokenizer.kind) {
    case jobs::TokenizerKind::kClipBpe:
      return write_clip_tokenizer(model, to);
    case jobs::TokenizerKind::kWordPiece:
      return write_wordpiece_tokenizer(model, to);
    case jobs::TokenizerKind::kSentencePiece:
      return write_sentencepiece_tokenizer(model, to);
    default:
      need(false, said("text.tokenizer.kind", model.spec().text.tokenizer.kind), "other programs",
           "--without-tokenizer writes the rest");
  }
}

}  // namespace

void export_onnx(const std::string& model_folder, const std::string& folder, bool tokenizer) {
  export_onnx(model_folder, folder, tokenizer, OnnxGraph::kMostBytes);
}

void export_onnx(const std::string& model_folder, const std::string& folder, bool tokenizer,
                 std::size_t most_bytes) {
  const at::NoGradGuard no_gradients;
  const auto model = open_for_export(model_folder);
  const jobs::ModelSpec& spec = model->spec();
  const io::Path to(folder);
  need(model->decoder() == nullptr, "a captioner", "ONNX files of two towers",
       "trireme export --to hf writes it");
  io::make_folders(to);
  if (tokenizer) write_tokenizer(*model, to);
  {
    TensorGraph image("image", most_bytes);
    OnnxLayers layers(image, *model);
    build_onnx_image(layers, spec);
    image.write(to / "image.onnx", "1");
  }
  TensorGraph text("text", most_bytes);
  OnnxLayers layers(text, *model);
  build_onnx_text(layers, *model);
  text.write(to / "text.onnx", "1");
  write_json_file(to / "preprocessor_config.json",
                  hf_preprocessor(spec.image, spec.image.kind == jobs::ImageTowerKind::kVit
                                                  ? "CLIPImageProcessor"
                                                  : "EfficientNetImageProcessor"));
  write_json_file(to / "onnx_config.json", config_of(*model));
}

}  // namespace trireme::worker::exchange
