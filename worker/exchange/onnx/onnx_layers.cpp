#include "worker/exchange/onnx/onnx_layers.h"

#include <cmath>

#include <ATen/ATen.h>

#include "common/base/error.h"

namespace trireme::worker::exchange {

std::string TensorGraph::constant(const at::Tensor& value) {
  const bool truth = value.scalar_type() == at::kBool, real = at::isFloatingType(value.scalar_type());
  const auto plain = value.detach()
                         .to(at::kCPU, truth  ? at::kBool
                                       : real ? at::kFloat
                                              : at::kLong)
                         .contiguous();
  return OnnxGraph::constant(truth  ? Type::kBool
                             : real ? Type::kFloat32
                                    : Type::kInt64,
                             plain.sizes().vec(), plain.const_data_ptr(), plain.nbytes());
}

std::string TensorGraph::numbers(const std::vector<std::int64_t>& values) {
  return constant(at::tensor(values, at::kLong));
}

std::string TensorGraph::number(double value) {
  return constant(at::scalar_tensor(value, at::kFloat));
}

OnnxLayers::OnnxLayers(TensorGraph& made, models::DualEncoder& model) : graph(made) {
  for (auto& [name, tensor] : model.state()) tensors_.emplace(name, tensor);
}

const at::Tensor& OnnxLayers::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) throw Error(ErrorKind::kInternal, "the model has no tensor " + name);
  return found->second;
}

std::string OnnxLayers::linear(const std::string& x, const at::Tensor& weight, const at::Tensor& bias) {
  const std::string product = graph.add("MatMul", {x, graph.constant(weight.t())});
  return bias.defined() ? graph.add("Add", {product, graph.constant(bias)}) : product;
}

std::string OnnxLayers::linear(const std::string& x, const std::string& weight, const std::string& bias) {
  return linear(x, tensor(weight), bias.empty() ? at::Tensor() : tensor(bias));
}

std::string OnnxLayers::layer_norm(const std::string& x, const std::string& name, double epsilon) {
  return graph.add("LayerNormalization",
                   {x, graph.constant(tensor(name + ".weight")), graph.constant(tensor(name + ".bias"))},
                   {{"axis", std::int64_t{-1}}, {"epsilon", epsilon}});
}

std::string OnnxLayers::silu(const std::string& x) {
  return graph.add("Mul", {x, graph.add("Sigmoid", {x})});
}

std::string OnnxLayers::activate(const std::string& x, nn::Activation activation) {
  if (activation == nn::Activation::kQuickGelu)
    return graph.add("Mul", {x, graph.add("Sigmoid", {graph.add("Mul", {x, graph.number(1.702)})})});
  const std::string half = graph.add("Mul", {x, graph.number(0.5)});
  std::string curve;
  if (activation == nn::Activation::kTanhGelu) {
    const std::string cube = graph.add("Mul", {graph.add("Mul", {x, x}), x});
    const std::string sum = graph.add("Add", {x, graph.add("Mul", {cube, graph.number(0.044715)})});
    curve = tanh(graph.add("Mul", {sum, graph.number(std::sqrt(2 / M_PI))}));
  } else {
    curve = graph.add("Erf", {graph.add("Mul", {x, graph.number(std::sqrt(0.5))})});
  }
  return graph.add("Mul", {half, graph.add("Add", {curve, graph.number(1)})});
}

std::string OnnxLayers::reshape(const std::string& x, const std::vector<std::int64_t>& sides) {
  return graph.add("Reshape", {x, graph.numbers(sides)});
}

std::string OnnxLayers::heads_of(const std::string& x, std::int64_t heads, std::int64_t width) {
  return graph.add("Transpose", {reshape(x, {0, 0, heads, width / heads})},
                   {{"perm", std::vector<std::int64_t>{0, 2, 1, 3}}});
}

std::string OnnxLayers::attend(const std::string& query, const std::string& key, const std::string& value,
                               std::int64_t heads, std::int64_t width, const std::string& mask) {
  const std::int64_t of_head = width / heads;
  const double scale = 1 / std::sqrt(static_cast<double>(of_head));
  std::string logits =
      graph.add("MatMul", {graph.add("Mul", {query, graph.number(scale)}),
                           graph.add("Transpose", {key}, {{"perm", std::vector<std::int64_t>{0, 1, 3, 2}}})});
  if (!mask.empty()) logits = graph.add("Add", {logits, mask});
  const std::string mixed =
      graph.add("MatMul", {graph.add("Softmax", {logits}, {{"axis", std::int64_t{-1}}}), value});
  return reshape(graph.add("Transpose", {mixed}, {{"perm", std::vector<std::int64_t>{0, 2, 1, 3}}}),
                 {0, 0, width});
}

std::string OnnxLayers::turned(const std::string& x_NHLD, const nn::Rotary& rotary, std::int64_t heads,
                               std::int64_t width) {
  const std::int64_t length = rotary.sine_LD.size(0), head = width / heads;
  const auto pairs = graph.split(reshape(x_NHLD, {0, heads, length, head / 2, 2}), -1, 2);
  const std::string across =
      reshape(graph.add("Concat", {graph.add("Neg", {pairs[1]}), pairs[0]}, {{"axis", std::int64_t{-1}}}),
              {0, heads, length, head});
  return graph.add("Add", {graph.add("Mul", {x_NHLD, graph.constant(rotary.cosine_LD)}),
                           graph.add("Mul", {across, graph.constant(rotary.sine_LD)})});
}

std::string OnnxLayers::transformer(std::string x, const std::string& prefix,
                                    const nn::TransformerShape& shape, const std::string& mask,
                                    const nn::Rotary& rotary) {
  const double epsilon = shape.layer_norm_epsilon;
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    const std::string block = prefix + ".resblocks." + std::to_string(i);
    const auto norm = [&](const std::string& value, const std::string& name, bool there) {
      return there ? layer_norm(value, block + name, epsilon) : value;
    };
    const auto branch = [&](const std::string& value, const std::string& after, const std::string& gamma) {
      const std::string normed = norm(value, after, shape.post_norm);
      return shape.layer_scale ? graph.add("Mul", {normed, graph.constant(tensor(block + gamma))}) : normed;
    };
    const auto qkv = graph.split(linear(norm(x, ".ln_1", !shape.post_norm), block + ".attn.in_proj_weight",
                                        block + ".attn.in_proj_bias"),
                                 -1, 3);
    std::vector<std::string> heads;
    for (const auto& part : qkv) heads.push_back(heads_of(part, shape.heads, shape.width));
    if (rotary.sine_LD.defined())
      for (const std::size_t part : {0, 1})
        heads[part] = turned(heads[part], rotary, shape.heads, shape.width);
    const std::string mixed = norm(attend(heads[0], heads[1], heads[2], shape.heads, shape.width, mask),
                                   ".attn.ln_inner", shape.attention_norm);
    const std::string h = graph.add(
        "Add", {x, branch(linear(mixed, block + ".attn.out_proj.weight", block + ".attn.out_proj.bias"),
                          ".ln_1", ".ls_1.gamma")});
    std::string inner =
        linear(norm(h, ".ln_2", !shape.post_norm), block + ".mlp.c_fc.weight", block + ".mlp.c_fc.bias");
    if (shape.gated_mlp) {
      const auto halves = graph.split(inner, -1, 2);
      inner = graph.add("Mul", {silu(halves[0]), halves[1]});
    } else {
      inner = activate(inner, shape.activation);
    }
    inner = norm(inner, ".mlp.ln", shape.mlp_norm);
    x = graph.add("Add", {h, branch(linear(inner, block + ".mlp.c_proj.weight", block + ".mlp.c_proj.bias"),
                                    ".ln_2", ".ls_2.gamma")});
  }
  return x;
}

std::string OnnxLayers::project(const std::string& x, jobs::ProjectionKind kind, const std::string& matrix,
                                const std::string& linear_name) {
  std::string y = x;
  if (kind == jobs::ProjectionKind::kMatrix)
    y = graph.add("MatMul", {x, graph.constant(tensor(matrix))});
  else if (kind == jobs::ProjectionKind::kLinear)
    y = linear(x, linear_name + ".weight", linear_name + ".bias");
  const std::string length =
      graph.add("ReduceL2", {y}, {{"axes", std::vector<std::int64_t>{-1}}, {"keepdims", std::int64_t{1}}});
  return graph.add("Div", {y, graph.add("Max", {length, graph.number(1e-12)})});
}

}  // namespace trireme::worker::exchange
