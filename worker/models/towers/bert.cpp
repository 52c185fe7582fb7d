#include <vector>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/models/towers/towers.h"
#include "worker/nn/layers.h"
#include "worker/nn/recompute.h"

namespace trireme::worker::models {
namespace {

constexpr double kLayerNormEpsilon = 1e-12;
constexpr double kInitDeviation = 0.02;

// Tokens side by side, without padding where leaving it out saves a tenth: nobody looks at it.
struct Rows {
  std::int64_t sequences = 0, length = 0;
  at::Tensor kept_M;                  // places in [N L] of the rows; undefined: all
  at::Tensor mask_N11L;               // which places may be looked at
  at::Tensor first_N, first_place_N;  // first token of each sequence: its row, and its place in [N L]
  at::Tensor owner_M, count_N1;       // sequence of each row that is a token; tokens per sequence
};

struct Layer {
  nn::Linear query, key, value, attention_out, intermediate, output;
  nn::LayerNorm attention_norm, output_norm;

  at::Tensor forward(const at::Tensor& x_MT, const Rows& rows, std::int64_t heads, bool read) const {
    at::Tensor qkv = at::cat({query.forward(x_MT), key.forward(x_MT), value.forward(x_MT)}, 1);
    if (rows.kept_M.defined())
      qkv = at::zeros({rows.sequences * rows.length, qkv.size(1)}, qkv.options())
                .index_copy_(0, rows.kept_M, qkv);
    const at::Tensor qkv_NL3T = qkv.view({rows.sequences, rows.length, qkv.size(1)});
    at::Tensor mixed = nn::self_attention(qkv_NL3T, heads, false, rows.mask_N11L).flatten(0, 1);
    at::Tensor x = x_MT;
    if (read) {
      mixed = mixed.index_select(0, rows.first_place_N);
      x = x_MT.index_select(0, rows.first_N);
    } else if (rows.kept_M.defined()) {
      mixed = mixed.index_select(0, rows.kept_M);
    }
    const at::Tensor hidden = attention_norm.forward(x + attention_out.forward(mixed));
    return output_norm.forward(hidden + output.forward(nn::gelu(intermediate.forward(hidden))));
  }

  std::vector<at::Tensor> parameters() const {
    std::vector<at::Tensor> all;
    for (const nn::Linear* one : {&query, &key, &value, &attention_out, &intermediate, &output})
      all.insert(all.end(), {one->weight, one->bias});
    for (const nn::LayerNorm* one : {&attention_norm, &output_norm})
      all.insert(all.end(), {one->weight, one->bias});
    return all;
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
      : spec_(spec), pad_id_(pad_id), pooling_(spec.pooling) {
    const std::string prefix = "text.embeddings.";
    words_ = set.normal(prefix + "word_embeddings.weight", {vocabulary_size, spec.width}, kInitDeviation);
    positions_ =
        set.normal(prefix + "position_embeddings.weight", {spec.positions, spec.width}, kInitDeviation);
    types_ = set.normal(prefix + "token_type_embeddings.weight", {2, spec.width}, kInitDeviation);
    norm_ = nn::make_layer_norm(set, prefix + "LayerNorm", spec.width, kLayerNormEpsilon);
    for (std::int64_t i = 0; i < spec.layers; ++i)
      layers_.push_back(make_layer(set, "text.encoder.layer." + std::to_string(i), spec.width));
    if (pooling_ == jobs::TextPooling::kPooler)
      pooler_ = nn::make_linear_normal(set, "text.pooler.dense", spec.width, spec.width, kInitDeviation);
  }

  std::int64_t width() const override { return spec_.width; }

  at::Tensor forward(const at::Tensor& tokens_NL, const nn::ForwardContext&) const override {
    if (tokens_NL.dim() != 2 || tokens_NL.size(1) < 1 || tokens_NL.size(1) > spec_.context)
      throw Error(ErrorKind::kInvalid,
                  "BERT takes tokens [N, L] with 1 <= L <= context " + std::to_string(spec_.context));
    const Rows rows = rows_of(tokens_NL);
    const at::Tensor tokens_M =
        rows.kept_M.defined() ? tokens_NL.reshape(-1).index_select(0, rows.kept_M) : tokens_NL.reshape(-1);
    const at::Tensor places_M =
        rows.kept_M.defined() ? rows.kept_M : at::arange(rows.sequences * rows.length, tokens_NL.options());
    at::Tensor x_MT =
        norm_.forward(at::embedding(words_, tokens_M) +
                      (at::embedding(positions_, places_M.remainder(rows.length)) + types_.select(0, 0)));
    const bool first = pooling_ != jobs::TextPooling::kMean;  // then the last layer computes those rows alone
    for (std::size_t i = 0; i < layers_.size(); ++i)
      x_MT = run(layers_[i], x_MT, rows, first && i + 1 == layers_.size());
    if (pooling_ == jobs::TextPooling::kCls) return x_MT;
    if (pooling_ == jobs::TextPooling::kPooler) return at::tanh(pooler_.forward(x_MT));
    return mean_of(x_MT, rows, tokens_M);
  }

 private:
  at::Tensor run(const Layer& layer, const at::Tensor& x_MT, const Rows& rows, bool read) const {
    if (!spec_.gradient_checkpointing) return layer.forward(x_MT, rows, spec_.heads, read);
    return nn::recompute([&layer, rows, heads = spec_.heads, read](
                             const at::Tensor& x, bool) { return layer.forward(x, rows, heads, read); },
                         x_MT, layer.parameters());
  }

  // Looking at the lengths would mean waiting for a GPU, so there all rows run.
  Rows rows_of(const at::Tensor& tokens_NL) const {
    Rows rows{tokens_NL.size(0), tokens_NL.size(1)};
    const at::Tensor present_NL = tokens_NL != pad_id_;
    rows.mask_N11L = present_NL.view({-1, 1, 1, rows.length});
    rows.count_N1 = present_NL.sum(1, true).to(at::kFloat).clamp_min(1);
    rows.first_place_N = at::arange(rows.sequences, tokens_NL.options()) * rows.length;
    rows.first_N = rows.first_place_N;
    if (!tokens_NL.is_cpu() || !present_NL.select(1, 0).all().item<bool>()) return rows;
    const at::Tensor kept_M = present_NL.view(-1).nonzero().squeeze(1);
    if (10 * kept_M.numel() > 9 * rows.sequences * rows.length) return rows;
    rows.kept_M = kept_M;
    rows.owner_M = kept_M.div(rows.length, "floor");
    rows.first_N = present_NL.sum(1).cumsum(0) - present_NL.sum(1);
    return rows;
  }

  at::Tensor mean_of(const at::Tensor& x_MT, const Rows& rows, const at::Tensor& tokens_M) const {
    const at::Tensor x = x_MT.to(at::kFloat);
    if (rows.kept_M.defined())
      return at::zeros({rows.sequences, spec_.width}, x.options()).index_add(0, rows.owner_M, x) /
             rows.count_N1;
    const at::Tensor present_M1 = (tokens_M != pad_id_).to(at::kFloat).unsqueeze(1);
    return (x * present_M1).view({rows.sequences, rows.length, spec_.width}).sum(1) / rows.count_N1;
  }

  jobs::TextTowerSpec spec_;
  std::int64_t pad_id_;
  jobs::TextPooling pooling_;
  at::Tensor words_, positions_, types_;
  nn::LayerNorm norm_;
  std::vector<Layer> layers_;
  nn::Linear pooler_;
};

}  // namespace

std::unique_ptr<Tower> make_bert(const jobs::TextTowerSpec& spec, std::int64_t vocabulary_size,
                                 std::int64_t pad_id, nn::ParameterSet& set) {
  if (spec.heads < 1 || spec.width % spec.heads != 0)
    throw Error(ErrorKind::kInvalid,
                "text tower: width " + std::to_string(spec.width) + " is not a multiple of its " +
                    std::to_string(spec.heads) + " heads",
                "choose heads that divide width");
  if (spec.context > spec.positions)
    throw Error(ErrorKind::kInvalid,
                "text tower: it has " + std::to_string(spec.positions) + " positions, context is " +
                    std::to_string(spec.context),
                "set context to at most " + std::to_string(spec.positions));
  return std::make_unique<Bert>(spec, vocabulary_size, pad_id, set);
}

}  // namespace trireme::worker::models
