#include <cmath>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/models/towers.h"
#include "worker/nn/transformer.h"

namespace trireme::worker::models {
namespace {

class TextTransformer final : public Tower {
 public:
  TextTransformer(const jobs::TextTowerSpec& spec, std::int64_t vocabulary_size, std::int64_t end_id,
                  nn::ParameterSet& set)
      : spec_(spec),
        end_id_(end_id),
        token_embedding_(set.normal("token_embedding.weight", {vocabulary_size, spec.width}, 0.02)),
        positional_embedding_(set.normal("positional_embedding", {spec.context, spec.width}, 0.01)),
        transformer_(set, "transformer", {spec.width, spec.layers, spec.heads, spec.quick_gelu, true}, true),
        ln_final_(nn::make_layer_norm(set, "ln_final", spec.width)) {}

  std::int64_t width() const override { return spec_.width; }

  at::Tensor forward(const at::Tensor& tokens_NL) const override {
    if (tokens_NL.dim() != 2 || tokens_NL.size(1) < 1 || tokens_NL.size(1) > spec_.context)
      throw Error(ErrorKind::kInvalid, "the text transformer takes tokens [N, L] with 1 <= L <= context " +
                                           std::to_string(spec_.context));
    const at::Tensor positions_LT = positional_embedding_.slice(0, 0, tokens_NL.size(1));
    at::Tensor x_NLT = transformer_.forward(at::embedding(token_embedding_, tokens_NL) + positions_LT);
    // The first end token of each row (arg-max returns the first of equals); ln_final works row by row, so
    // that it is enough to apply it there.
    const at::Tensor last_N = (tokens_NL == end_id_).to(at::kInt).argmax(1);
    const at::Tensor index_N1T = last_N.view({-1, 1, 1}).expand({-1, 1, spec_.width});
    return ln_final_.forward(x_NLT.gather(1, index_N1T).squeeze(1));
  }

 private:
  jobs::TextTowerSpec spec_;
  std::int64_t end_id_;
  at::Tensor token_embedding_, positional_embedding_;
  nn::Transformer transformer_;
  nn::LayerNorm ln_final_;
};

}  // namespace

std::unique_ptr<Tower> make_text_transformer(const jobs::TextTowerSpec& spec, std::int64_t vocabulary_size,
                                             std::int64_t end_id, nn::ParameterSet& set) {
  if (spec.heads < 1 || spec.width % spec.heads != 0)
    throw Error(ErrorKind::kInvalid,
                "text tower: width " + std::to_string(spec.width) + " is not a multiple of its " +
                    std::to_string(spec.heads) + " heads",
                "choose heads that divide width");
  return std::make_unique<TextTransformer>(spec, vocabulary_size, end_id, set);
}

}  // namespace trireme::worker::models
