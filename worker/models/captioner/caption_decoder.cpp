#include "worker/models/captioner/caption_decoder.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include <cmath>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "worker/kernels/few_rows.h"

namespace trireme::worker::models {
namespace {

constexpr double kDecoderEpsilon = 1e-12;
constexpr double kDecoderDeviation = 0.02;
constexpr double kAbsorbedShare = 1.5;  // of the image's width; see cheaper()

at::Tensor dense(const nn::Linear& linear, const at::Tensor& x) {
  return kernels::linear_of_few(x, linear.weight, linear.bias);
}

at::Tensor attention(const at::Tensor& query_NHLD, const at::Tensor& key_NHSD, const at::Tensor& value_NHSD,
                     bool causal) {
  return at::scaled_dot_product_attention(query_NHLD, key_NHSD, value_NHSD, std::nullopt, 0.0, causal);
}

// [N, H, L, D] -> [N, L, H D]
at::Tensor side_by_side(const at::Tensor& mixed_NHLD) {
  return mixed_NHLD.transpose(1, 2).flatten(2);
}

at::Tensor grown(const at::Tensor& kept_RHLD, std::int64_t most) {
  at::Tensor room =
      at::empty({kept_RHLD.size(0), kept_RHLD.size(1), most, kept_RHLD.size(3)}, kept_RHLD.options());
  room.narrow(2, 0, kept_RHLD.size(2)).copy_(kept_RHLD);
  return room;
}

}  // namespace

void DecoderCache::keep_rows(const at::Tensor& rows_R) {
  for (auto* tensors : {&key, &value})
    for (at::Tensor& tensor : *tensors) {
      if (!spare.defined() || spare.size(0) != rows_R.size(0))
        spare = at::empty({rows_R.size(0), tensor.size(1), most, tensor.size(3)}, tensor.options());
      at::Tensor target = spare.narrow(2, 0, length);
      at::index_select_out(target, tensor.narrow(2, 0, length), 0, rows_R);
      std::swap(tensor, spare);
    }
}

void DecoderCache::keep_images(const at::Tensor& images_N) {
  images = images_N.size(0);
  if (image.defined()) image = image.index_select(0, images_N);
  for (auto* tensors : {&image_key, &image_value})
    for (at::Tensor& tensor : *tensors) tensor = tensor.index_select(0, images_N);
}

CaptionDecoder::CaptionDecoder(const jobs::TextTowerSpec& spec, std::int64_t vocabulary,
                               std::int64_t image_width, nn::ParameterSet& set)
    : width_(spec.width), heads_(spec.heads) {
  if (spec.heads < 1 || spec.width % spec.heads != 0)
    throw Error(ErrorKind::kInvalid,
                "caption decoder: width " + std::to_string(spec.width) + " is not a multiple of its " +
                    std::to_string(spec.heads) + " heads",
                "choose heads that divide width");
  const std::string prefix = "decoder.embeddings.";
  words_ = set.normal(prefix + "word_embeddings.weight", {vocabulary, width_}, kDecoderDeviation);
  positions_ = set.normal(prefix + "position_embeddings.weight", {spec.positions, width_}, kDecoderDeviation);
  norm_ = nn::make_layer_norm(set, prefix + "LayerNorm", width_, kDecoderEpsilon);
  for (std::int64_t i = 0; i < spec.layers; ++i)
    layers_.push_back(make_layer(set, "decoder.layers." + std::to_string(i), image_width));
  head_dense_ = nn::make_linear_normal(set, "decoder.head.dense", width_, width_, kDecoderDeviation);
  head_norm_ = nn::make_layer_norm(set, "decoder.head.norm", width_, kDecoderEpsilon);
  head_weight_ =
      spec.tied_head ? words_ : set.normal("decoder.head.weight", {vocabulary, width_}, kDecoderDeviation);
  head_bias_ = set.constant("decoder.head.bias", {vocabulary}, 0);
}

CaptionDecoder::Layer CaptionDecoder::make_layer(nn::ParameterSet& set, const std::string& prefix,
                                                 std::int64_t image_width) const {
  const auto dense = [&](const char* name, std::int64_t in, std::int64_t out) {
    return nn::make_linear_normal(set, prefix + name, in, out, kDecoderDeviation);
  };
  const auto norm = [&](const char* name) {
    return nn::make_layer_norm(set, prefix + name, width_, kDecoderEpsilon);
  };
  Layer layer;
  layer.qkv = dense(".self.qkv", width_, 3 * width_);
  layer.self_out = dense(".self.out", width_, width_);
  layer.self_norm = norm(".self.norm");
  layer.cross_query = dense(".cross.query", width_, width_);
  layer.cross_key_value = dense(".cross.key_value", image_width, 2 * width_);
  layer.cross_out = dense(".cross.out", width_, width_);
  layer.cross_norm = norm(".cross.norm");
  layer.mlp_in = dense(".mlp.in", width_, 4 * width_);
  layer.mlp_out = dense(".mlp.out", 4 * width_, width_);
  layer.mlp_norm = norm(".mlp.norm");
  return layer;
}

at::Tensor CaptionDecoder::embed(const at::Tensor& tokens_RL, std::int64_t first) const {
  if (tokens_RL.dim() != 2 || tokens_RL.size(1) < 1 || first + tokens_RL.size(1) > positions())
    throw Error(ErrorKind::kInvalid, "the caption decoder takes tokens [R, L] with at most " +
                                         std::to_string(positions()) + " positions");
  return norm_.forward(at::embedding(words_, tokens_RL) + positions_.narrow(0, first, tokens_RL.size(1)));
}

at::Tensor CaptionDecoder::by_head(const at::Tensor& x_NLT, std::int64_t parts) const {
  return x_NLT.view({x_NLT.size(0), x_NLT.size(1), parts, heads_, width_ / heads_}).permute({2, 0, 3, 1, 4});
}

// The rows of one image are queries of one attention, so that its keys are read once for all of them.
at::Tensor CaptionDecoder::cross(const Layer& layer, const at::Tensor& h_RLT, const at::Tensor& key_NHSD,
                                 const at::Tensor& value_NHSD) const {
  const at::Tensor query = dense(layer.cross_query, h_RLT);
  const at::Tensor by_image = query.view({key_NHSD.size(0), -1, width_});
  const at::Tensor mixed = attention(by_head(by_image, 1)[0], key_NHSD, value_NHSD, false);
  return side_by_side(mixed).view(h_RLT.sizes());
}

// Rows, tokens and heads of one image are queries of one attention over its tokens.
at::Tensor CaptionDecoder::absorbed_cross(const Layer& layer, const at::Tensor& h_RLT,
                                          const at::Tensor& image_NSU) const {
  const std::int64_t depth = width_ / heads_, image_width = image_NSU.size(2);
  const auto weight = layer.cross_key_value.weight.view({2, heads_, depth, image_width}).unbind(0);
  const at::Tensor query = dense(layer.cross_query, h_RLT) * (1 / std::sqrt(static_cast<double>(depth)));
  const at::Tensor folded = at::bmm(query.view({-1, heads_, depth}).transpose(0, 1), weight[0]);
  const at::Tensor by_image = folded.transpose(0, 1).contiguous().view({image_NSU.size(0), -1, image_width});
  const at::Tensor seen = kernels::attend_tokens(by_image, image_NSU).view({-1, heads_, image_width});
  const at::Tensor mixed = at::bmm(seen.transpose(0, 1), weight[1].transpose(1, 2));
  return mixed.transpose(0, 1).reshape(h_RLT.sizes()) + layer.cross_key_value.bias.narrow(0, width_, width_);
}

at::Tensor CaptionDecoder::after_self(const Layer& layer, const at::Tensor& x_RLT,
                                      const at::Tensor& mixed_RHLD) const {
  return layer.self_norm.forward(x_RLT + dense(layer.self_out, side_by_side(mixed_RHLD)));
}

at::Tensor CaptionDecoder::finish(const Layer& layer, const at::Tensor& h_RLT,
                                  const at::Tensor& crossed_RLT) const {
  const at::Tensor c = layer.cross_norm.forward(h_RLT + dense(layer.cross_out, crossed_RLT));
  return layer.mlp_norm.forward(c + dense(layer.mlp_out, nn::gelu(dense(layer.mlp_in, c))));
}

at::Tensor CaptionDecoder::head(const at::Tensor& x) const {
  return kernels::linear_of_few(head_norm_.forward(nn::gelu(dense(head_dense_, x))), head_weight_,
                                head_bias_);
}

at::Tensor CaptionDecoder::forward(const at::Tensor& tokens_NL, const at::Tensor& image_NSU) const {
  at::Tensor x = embed(tokens_NL, 0);
  for (const Layer& layer : layers_) {
    const auto qkv = by_head(dense(layer.qkv, x), 3).unbind(0);
    const auto image = by_head(layer.cross_key_value.forward(image_NSU), 2).unbind(0);
    const at::Tensor h = after_self(layer, x, attention(qkv[0], qkv[1], qkv[2], true));
    x = finish(layer, h, cross(layer, h, image[0], image[1]));
  }
  return head(x);
}

CrossForm CaptionDecoder::cheaper(const at::Tensor& image_NSU, std::int64_t rows, std::int64_t most) const {
  const bool exact =
      image_NSU.scalar_type() == at::kFloat && !at::autocast::is_autocast_enabled(image_NSU.device().type());
  const auto image_width = static_cast<double>(image_NSU.size(2));
  const double dearer = static_cast<double>(heads_) * image_width / static_cast<double>(width_) - 1;
  const double per_image = static_cast<double>(rows * most) * dearer;
  return exact && per_image < kAbsorbedShare * image_width ? CrossForm::kAbsorbed : CrossForm::kProjected;
}

DecoderCache CaptionDecoder::start(const at::Tensor& image_NSU, std::int64_t most, CrossForm form) const {
  DecoderCache cache;
  cache.images = image_NSU.size(0);
  cache.most = most;
  if (form == CrossForm::kAbsorbed) {
    cache.image = image_NSU.contiguous();
    return cache;
  }
  for (const Layer& layer : layers_) {
    const auto image = by_head(layer.cross_key_value.forward(image_NSU), 2).unbind(0);
    cache.image_key.push_back(image[0].contiguous());
    cache.image_value.push_back(image[1].contiguous());
  }
  return cache;
}

at::Tensor CaptionDecoder::step(const at::Tensor& tokens_RL, DecoderCache& cache) const {
  const std::int64_t count = tokens_RL.size(1), length = cache.length + count;
  if (length > cache.most || (count > 1 && cache.length > 0))
    throw Error(ErrorKind::kInternal, "caption decoder: " + std::to_string(count) + " tokens behind " +
                                          std::to_string(cache.length) + " of " + std::to_string(cache.most));
  at::Tensor x = embed(tokens_RL, cache.length);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const auto qkv = by_head(dense(layers_[i].qkv, x), 3).unbind(0);
    if (cache.length == 0) {
      cache.key.push_back(grown(qkv[1], cache.most));
      cache.value.push_back(grown(qkv[2], cache.most));
    } else {
      cache.key[i].narrow(2, cache.length, 1).copy_(qkv[1]);
      cache.value[i].narrow(2, cache.length, 1).copy_(qkv[2]);
    }
    const at::Tensor mixed =
        attention(qkv[0], cache.key[i].narrow(2, 0, length), cache.value[i].narrow(2, 0, length), count > 1);
    const at::Tensor h = after_self(layers_[i], x, mixed);
    x = finish(layers_[i], h,
               cache.image.defined() ? absorbed_cross(layers_[i], h, cache.image)
                                     : cross(layers_[i], h, cache.image_key[i], cache.image_value[i]));
  }
  cache.length = length;
  return head(x.select(1, count - 1));
}

}  // namespace trireme::worker::models
