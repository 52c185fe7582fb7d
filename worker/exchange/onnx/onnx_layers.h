// The layers of worker/nn as nodes of an ONNX graph, over a model's tensors by their names. Legend: N
// sequences, L positions, T width, H heads, D width of a head.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "worker/exchange/onnx/onnx_graph.h"
#include "worker/models/dual_encoder.h"
#include "worker/nn/layers.h"
#include "worker/nn/transformer.h"

namespace trireme::worker::exchange {

// A graph whose constants are tensors: of float types they become float32, whole numbers int64, bool stays.
class TensorGraph : public OnnxGraph {
 public:
  using OnnxGraph::OnnxGraph;
  std::string constant(const at::Tensor& value);
  std::string numbers(const std::vector<std::int64_t>& values);  // int64 [n]
  std::string number(double value);                              // float32 []
};

class OnnxLayers {
 public:
  OnnxLayers(TensorGraph& made, models::DualEncoder& model);

  TensorGraph& graph;
  const at::Tensor& tensor(const std::string& name) const;  // kInternal naming one that is not there
  bool has(const std::string& name) const { return tensors_.contains(name); }

  // x W^T + b; `bias` "" for none.
  std::string linear(const std::string& x, const std::string& weight, const std::string& bias);
  std::string linear(const std::string& x, const at::Tensor& weight, const at::Tensor& bias);
  std::string layer_norm(const std::string& x, const std::string& name, double epsilon);
  std::string activate(const std::string& x, nn::Activation activation);
  std::string silu(const std::string& x);
  std::string tanh(const std::string& x) { return graph.add("Tanh", {x}); }

  std::string reshape(const std::string& x,
                      const std::vector<std::int64_t>& sides);  // 0: as it is, -1: what is left
  // [N, L, T] -> [N, H, L, D]
  std::string heads_of(const std::string& x, std::int64_t heads, std::int64_t width);
  // softmax(q k^T / sqrt(D) + mask) v of [N, H, L, D] each -> [N, L, T]; `mask` "" for none.
  std::string attend(const std::string& query, const std::string& key, const std::string& value,
                     std::int64_t heads, std::int64_t width, const std::string& mask);
  std::string turned(const std::string& x_NHLD, const nn::Rotary& rotary, std::int64_t heads,
                     std::int64_t width);

  // nn::Transformer::forward() of the tensors below `prefix`.
  std::string transformer(std::string x, const std::string& prefix, const nn::TransformerShape& shape,
                          const std::string& mask, const nn::Rotary& rotary = {});

  // Rows of norm 1 behind the projection whose tensors start with `matrix` (CLIP's) or `linear`.
  std::string project(const std::string& x, jobs::ProjectionKind kind, const std::string& matrix,
                      const std::string& linear_name);

 private:
  std::unordered_map<std::string, at::Tensor> tensors_;
};

// The towers, from their input to rows of norm 1. Images "pixel_values" [batch, 3, px, px], normalised;
// texts "input_ids" [batch, length].
void build_onnx_image(OnnxLayers& layers, const jobs::ModelSpec& spec);
void build_onnx_text(OnnxLayers& layers, const models::DualEncoder& model);
// Whether texts must come padded to the context: the tower looks at what stands behind the end.
bool onnx_text_is_padded(const jobs::TextTowerSpec& text);

}  // namespace trireme::worker::exchange
