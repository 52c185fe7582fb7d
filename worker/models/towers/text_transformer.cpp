#include <cmath>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/models/towers/towers.h"
#include "worker/nn/transformer.h"

namespace trireme::worker::models {
namespace {

class TextTransformer final : public Tower {
 public:
  TextTransformer(const jobs::TextTowerSpec& spec, const TextIds& ids, nn::ParameterSet& set)
      : spec_(spec),
        ids_(ids),
        class_(spec.readout == jobs::TextReadout::kClass),
        whole_(class_ || spec.bidirectional || spec.readout == jobs::TextReadout::kLast),
        token_embedding_(set.normal("token_embedding.weight", {ids.vocabulary_size, spec.width}, 0.02)),
        positional_embedding_(
            set.normal("positional_embedding", {spec.context + (class_ ? 1 : 0), spec.width}, 0.01)),
        class_embedding_(class_ ? set.normal("cls_emb", {spec.width}, 0.01) : at::Tensor()),
        transformer_(set, "transformer",
                     {.width = spec.width,
                      .layers = spec.layers,
                      .heads = spec.heads,
                      .mlp_width = spec.mlp_width.value_or(0),
                      .activation = activation_of(spec.activation, spec.quick_gelu),
                      .causal = !spec.bidirectional,
                      .layer_scale = spec.layer_scale,
                      .layer_norm_epsilon = spec.layer_norm_epsilon.value_or(1e-5),
                      .gradient_checkpointing = spec.gradient_checkpointing},
                     true),
        ln_final_(nn::make_layer_norm(set, "ln_final", spec.width, spec.layer_norm_epsilon.value_or(1e-5))) {
    if (spec.end_token) ids_.end = *spec.end_token;
  }

  std::int64_t width() const override { return spec_.width; }

  at::Tensor forward(const at::Tensor& tokens_NL, const nn::ForwardContext& context) const override {
    if (tokens_NL.dim() != 2 || tokens_NL.size(1) < 1 || tokens_NL.size(1) > spec_.context)
      throw Error(ErrorKind::kInvalid, "the text transformer takes tokens [N, L] with 1 <= L <= context " +
                                           std::to_string(spec_.context));
    const std::int64_t missing = whole_ ? spec_.context - tokens_NL.size(1) : 0;
    const at::Tensor all_NL =
        missing > 0 ? at::constant_pad_nd(tokens_NL, {0, missing}, ids_.pad) : tokens_NL;
    if (class_) return with_class(all_NL, context);
    const nn::Positions positions = positions_of(all_NL);
    const bool packed = positions.kept_M.defined();
    const at::Tensor tokens = packed ? all_NL.reshape(-1).index_select(0, positions.kept_M) : all_NL;
    const at::Tensor where =
        packed ? positional_embedding_.index_select(0, positions.kept_M.remainder(positions.length))
               : positional_embedding_.slice(0, 0, positions.length);
    const at::Tensor x_MT = (at::embedding(token_embedding_, tokens) + where).view({-1, spec_.width});
    return ln_final_.forward(transformer_.read(x_MT, positions, context));
  }

 private:
  // The position of each row that is read.
  at::Tensor read_places(const at::Tensor& tokens_NL) const {
    if (spec_.readout == jobs::TextReadout::kFirst)
      return at::zeros({tokens_NL.size(0)}, tokens_NL.options());
    if (spec_.readout == jobs::TextReadout::kLast)
      return at::full({tokens_NL.size(0)}, tokens_NL.size(1) - 1, tokens_NL.options());
    if (spec_.readout == jobs::TextReadout::kLargest) return tokens_NL.argmax(1);
    return (tokens_NL == ids_.end).to(at::kInt).argmax(1);  // arg-max returns the first of equals
  }

  // Padding is left out where nobody can look at it, where that saves a tenth, and where looking at the
  // lengths does not mean waiting for a GPU.
  nn::Positions positions_of(const at::Tensor& tokens_NL) const {
    const std::int64_t count = tokens_NL.size(0), length = tokens_NL.size(1);
    const at::Tensor last_N = read_places(tokens_NL);
    const at::Tensor first_N = at::arange(count, last_N.options()) * length;
    nn::Positions positions{count, length, {}, first_N + last_N, first_N + last_N, {}, {}};
    if (!tokens_NL.is_cpu() || whole_) return positions;
    const at::Tensor kept_M =
        at::arange(length, last_N.options()).le(last_N.unsqueeze(1)).view(-1).nonzero().squeeze(1);
    if (10 * kept_M.numel() > 9 * count * length) return positions;
    positions.kept_M = kept_M;
    positions.read_N = (last_N + 1).cumsum(0) - 1;
    return positions;
  }

  // CoCa's: a class token behind the whole context. Its mask of padding is shifted by one, as in the weights
  // that were trained with it: key 0 is always seen, key j where token j - 1 is not padding (id 0).
  at::Tensor with_class(const at::Tensor& tokens_NL, const nn::ForwardContext& context) const {
    const std::int64_t count = tokens_NL.size(0), length = tokens_NL.size(1) + 1;
    const at::Tensor class_N1T = class_embedding_.view({1, 1, spec_.width}).expand({count, 1, spec_.width});
    const at::Tensor x_NLT =
        at::cat({at::embedding(token_embedding_, tokens_NL), class_N1T}, 1) + positional_embedding_;
    const at::Tensor seen_NL = at::constant_pad_nd(tokens_NL != 0, {1, 0}, 1).to(at::kBool);
    at::Tensor mask = seen_NL.view({count, 1, 1, length});
    if (!spec_.bidirectional) mask = mask.logical_and(at::ones({length, length}, seen_NL.options()).tril());
    const at::Tensor last_N = at::arange(1, count + 1, tokens_NL.options()) * length - 1;
    const nn::Positions positions{count, length, {}, last_N, last_N, mask, {}};
    return ln_final_.forward(transformer_.read(x_NLT.reshape({-1, spec_.width}), positions, context));
  }

  jobs::TextTowerSpec spec_;
  TextIds ids_;
  bool class_, whole_;  // a class token is read; padding matters
  at::Tensor token_embedding_, positional_embedding_, class_embedding_;
  nn::Transformer transformer_;
  nn::LayerNorm ln_final_;
};

}  // namespace

std::unique_ptr<Tower> make_text_transformer(const jobs::TextTowerSpec& spec, const TextIds& ids,
                                             nn::ParameterSet& set) {
  if (spec.heads < 1 || spec.width % spec.heads != 0)
    throw Error(ErrorKind::kInvalid,
                "text tower: width " + std::to_string(spec.width) + " is not a multiple of its " +
                    std::to_string(spec.heads) + " heads",
                "choose heads that divide width");
  return std::make_unique<TextTransformer>(spec, ids, set);
}

}  // namespace trireme::worker::models
