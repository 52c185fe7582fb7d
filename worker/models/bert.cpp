#include <vector>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/models/towers.h"
#include "worker/nn/layers.h"

namespace trireme::worker::models {
namespace {

constexpr double kLayerNormEpsilon = 1e-12;
constexpr double kInitDeviation = 0.02;

struct Layer {
  nn::Linear query, key, value, attention_out, intermediate, output;
  nn::LayerNorm attention_norm, output_norm;

  at::Tensor forward(const at::Tensor& x_NLT, std::int64_t heads, const at::Tensor& mask_N11L) const {
    const at::Tensor qkv_NL3T = at::cat({query.forward(x_NLT), key.forward(x_NLT), value.forward(x_NLT)}, 2);
    const at::Tensor mixed = attention_out.forward(nn::self_attention(qkv_NL3T, heads, false, mask_N11L));
    const at::Tensor hidden = attention_norm.forward(x_NLT + mixed);
    return output_norm.forward(hidden + output.forward(nn::gelu(intermediate.forward(hidden), false)));
  }
};

Layer make_layer(nn::ParameterSet& set, const std::string& prefix, std::int64_t width) {
  const auto dense = [&](const std::string& name, std::int64_t in, std::int64_t out) {
    return nn::make_linear_normal(set, prefix + name, in, out, kInitDeviation);
  };
  Layer layer;
  layer.query = dense(".attention.self.query", width, width);
  layer.key = dense(".attention.self.key", width, width);
  layer.value = dense(".attention.self.value", width, width);
  layer.attention_out = dense(".attention.output.dense", width, width);
  layer.attention_norm =
      nn::make_layer_norm(set, prefix + ".attention.output.LayerNorm", width, kLayerNormEpsilon);
  layer.intermediate = dense(".intermediate.dense", width, 4 * width);
  layer.output = dense(".output.dense", 4 * width, width);
  layer.output_norm = nn::make_layer_norm(set, prefix + ".output.LayerNorm", width, kLayerNormEpsilon);
  return layer;
}

class Bert final : public Tower {
 public:
  Bert(const jobs::TextTowerSpec& spec, std::int64_t vocabulary_size, std::int64_t pad_id,
       nn::ParameterSet& set)
      : spec_(spec), pad_id_(pad_id) {
    const std::string prefix = "text.embeddings.";
    words_ = set.normal(prefix + "word_embeddings.weight", {vocabulary_size, spec.width}, kInitDeviation);
    positions_ =
        set.normal(prefix + "position_embeddings.weight", {kBertPositions, spec.width}, kInitDeviation);
    types_ = set.normal(prefix + "token_type_embeddings.weight", {2, spec.width}, kInitDeviation);
    norm_ = nn::make_layer_norm(set, prefix + "LayerNorm", spec.width, kLayerNormEpsilon);
    for (std::int64_t i = 0; i < spec.layers; ++i)
      layers_.push_back(make_layer(set, "text.encoder.layer." + std::to_string(i), spec.width));
  }

  std::int64_t width() const override { return spec_.width; }

  at::Tensor forward(const at::Tensor& tokens_NL) const override {
    if (tokens_NL.dim() != 2 || tokens_NL.size(1) < 1 || tokens_NL.size(1) > spec_.context)
      throw Error(ErrorKind::kInvalid,
                  "BERT takes tokens [N, L] with 1 <= L <= context " + std::to_string(spec_.context));
    const std::int64_t length = tokens_NL.size(1);
    const at::Tensor present_NL = tokens_NL != pad_id_;
    const at::Tensor mask_N11L = present_NL.view({-1, 1, 1, length});
    at::Tensor x_NLT = norm_.forward(at::embedding(words_, tokens_NL) +
                                     (positions_.slice(0, 0, length) + types_.select(0, 0)));
    for (const Layer& layer : layers_) x_NLT = layer.forward(x_NLT, spec_.heads, mask_N11L);
    const at::Tensor weight_NL1 = present_NL.to(at::kFloat).unsqueeze(2);
    return (x_NLT.to(at::kFloat) * weight_NL1).sum(1) / weight_NL1.sum(1).clamp_min(1);
  }

 private:
  jobs::TextTowerSpec spec_;
  std::int64_t pad_id_;
  at::Tensor words_, positions_, types_;
  nn::LayerNorm norm_;
  std::vector<Layer> layers_;
};

}  // namespace

std::unique_ptr<Tower> make_bert(const jobs::TextTowerSpec& spec, std::int64_t vocabulary_size,
                                 std::int64_t pad_id, nn::ParameterSet& set) {
  if (spec.heads < 1 || spec.width % spec.heads != 0)
    throw Error(ErrorKind::kInvalid,
                "text tower: width " + std::to_string(spec.width) + " is not a multiple of its " +
                    std::to_string(spec.heads) + " heads",
                "choose heads that divide width");
  if (spec.context > kBertPositions)
    throw Error(ErrorKind::kInvalid,
                "text tower: a BERT has " + std::to_string(kBertPositions) + " positions, context is " +
                    std::to_string(spec.context),
                "set context to at most " + std::to_string(kBertPositions));
  return std::make_unique<Bert>(spec, vocabulary_size, pad_id, set);
}

}  // namespace trireme::worker::models
