#include <cmath>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/models/towers/towers.h"
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
        transformer_(set, "transformer",
                     {.width = spec.width,
                      .layers = spec.layers,
                      .heads = spec.heads,
                      .quick_gelu = spec.quick_gelu,
                      .causal = true,
                      .gradient_checkpointing = spec.gradient_checkpointing},
                     true),
        ln_final_(nn::make_layer_norm(set, "ln_final", spec.width)) {}

  std::int64_t width() const override { return spec_.width; }

  at::Tensor forward(const at::Tensor& tokens_NL, const nn::ForwardContext& context) const override {
    if (tokens_NL.dim() != 2 || tokens_NL.size(1) < 1 || tokens_NL.size(1) > spec_.context)
      throw Error(ErrorKind::kInvalid, "the text transformer takes tokens [N, L] with 1 <= L <= context " +
                                           std::to_string(spec_.context));
    const nn::Positions positions = positions_of(tokens_NL);
    const bool packed = positions.kept_M.defined();
    const at::Tensor tokens = packed ? tokens_NL.reshape(-1).index_select(0, positions.kept_M) : tokens_NL;
    const at::Tensor where =
        packed ? positional_embedding_.index_select(0, positions.kept_M.remainder(positions.length))
               : positional_embedding_.slice(0, 0, positions.length);
    const at::Tensor x_MT = (at::embedding(token_embedding_, tokens) + where).view({-1, spec_.width});
    return ln_final_.forward(transformer_.read(x_MT, positions, context));
  }

 private:
  // Reads the first end token of each row (arg-max returns the first of equals). Padding is left out where
  // that saves a tenth, and where looking at the lengths does not mean waiting for a GPU.
  nn::Positions positions_of(const at::Tensor& tokens_NL) const {
    const std::int64_t count = tokens_NL.size(0), length = tokens_NL.size(1);
    const at::Tensor last_N = (tokens_NL == end_id_).to(at::kInt).argmax(1);
    const at::Tensor first_N = at::arange(count, last_N.options()) * length;
    nn::Positions positions{count, length, {}, first_N + last_N, first_N + last_N};
    if (!tokens_NL.is_cpu()) return positions;
    const at::Tensor kept_M =
        at::arange(length, last_N.options()).le(last_N.unsqueeze(1)).view(-1).nonzero().squeeze(1);
    if (10 * kept_M.numel() > 9 * count * length) return positions;
    positions.kept_M = kept_M;
    positions.read_N = (last_N + 1).cumsum(0) - 1;
    return positions;
  }

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
