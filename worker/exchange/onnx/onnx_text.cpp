#include <limits>

#include <ATen/ATen.h>

#include "worker/exchange/onnx/onnx_layers.h"
#include "worker/models/towers/towers.h"

namespace trireme::worker::exchange {
namespace {

using Ints = std::vector<std::int64_t>;

constexpr double kUnseen = -1e30;  // to a softmax it is as good as minus infinity, and a row of it is no NaN

struct Tokens {
  std::string ids, length;  // int64 [batch, L]; int64 [1] = L
};

// Rows [0, L) of a constant [context, …].
std::string first_rows(OnnxLayers& l, const Tokens& tokens, const at::Tensor& rows) {
  TensorGraph& g = l.graph;
  return g.add("Slice", {g.constant(rows), g.numbers({0}), tokens.length, g.numbers({0})});
}

std::string causal_mask(OnnxLayers& l, const Tokens& tokens, std::int64_t context) {
  TensorGraph& g = l.graph;
  const at::Tensor unseen = at::ones({context, context}).triu(1) * kUnseen;
  return g.add("Slice", {g.constant(unseen), g.numbers({0, 0}),
                         g.add("Concat", {tokens.length, tokens.length}, {{"axis", std::int64_t{0}}}),
                         g.numbers({0, 1})});
}

// What is added to logits where `seen`, bool [batch, L], says that nobody looks: [batch, 1, 1, L].
std::string mask_of(OnnxLayers& l, const std::string& seen) {
  TensorGraph& g = l.graph;
  return g.add("Unsqueeze", {g.add("Where", {seen, g.number(0), g.number(kUnseen)}), g.numbers({1, 2})});
}

std::string id(OnnxLayers& l, std::int64_t value) {
  return l.graph.constant(at::scalar_tensor(value, at::kLong));
}

std::string embedded(OnnxLayers& l, const std::string& table, const std::string& ids) {
  return l.graph.add("Gather", {l.graph.constant(l.tensor(table)), ids}, {{"axis", std::int64_t{0}}});
}

// Row `place` of every sequence, place int64 [batch, 1]: [batch, T].
std::string rows_at(OnnxLayers& l, const std::string& x_NLT, const std::string& place_N1) {
  return l.graph.add("GatherND", {x_NLT, place_N1}, {{"batch_dims", std::int64_t{1}}});
}

std::string row_number(OnnxLayers& l, const std::string& x_NLT, std::int64_t number) {
  return l.graph.add("Gather", {x_NLT, id(l, number)}, {{"axis", std::int64_t{1}}});
}

nn::TransformerShape shape_of(const jobs::TextTowerSpec& text) {
  return {.width = text.width,
          .layers = text.layers,
          .heads = text.heads,
          .activation = models::activation_of(text.activation, text.quick_gelu),
          .layer_scale = text.layer_scale,
          .layer_norm_epsilon = text.layer_norm_epsilon.value_or(1e-5)};
}

// CoCa's: a class token behind the whole context, and its mask of padding, shifted by one.
std::string with_class(OnnxLayers& l, const jobs::TextTowerSpec& text, const Tokens& tokens) {
  TensorGraph& g = l.graph;
  const std::int64_t length = text.context + 1;
  const std::string batch = g.add("Slice", {g.add("Shape", {tokens.ids}), g.numbers({0}), g.numbers({1})});
  const auto for_every_text = [&](const at::Tensor& value, const Ints& sides) {
    return g.add("Expand", {g.constant(value),
                            g.add("Concat", {batch, g.numbers(sides)}, {{"axis", std::int64_t{0}}})});
  };
  std::string x = g.add("Concat",
                        {embedded(l, "token_embedding.weight", tokens.ids),
                         for_every_text(l.tensor("cls_emb").view({1, 1, text.width}), {1, text.width})},
                        {{"axis", std::int64_t{1}}});
  x = g.add("Add", {x, g.constant(l.tensor("positional_embedding"))});
  const std::string there = g.add("Not", {g.add("Equal", {tokens.ids, id(l, 0)})});
  const std::string seen =
      g.add("Concat", {for_every_text(at::ones({1, 1}, at::kBool), {1}), there}, {{"axis", std::int64_t{1}}});
  std::string mask = mask_of(l, seen);
  if (!text.bidirectional)
    mask = g.add("Min", {mask, g.constant(at::ones({length, length}).triu(1) * kUnseen)});
  return row_number(l, l.transformer(x, "transformer", shape_of(text), mask), text.context);
}

std::string clip_text(OnnxLayers& l, const models::DualEncoder& model, const Tokens& tokens) {
  TensorGraph& g = l.graph;
  const jobs::TextTowerSpec& text = model.spec().text;
  std::string row;
  if (text.readout == jobs::TextReadout::kClass) {
    row = with_class(l, text, tokens);
  } else {
    const std::string placed = g.add("Add", {embedded(l, "token_embedding.weight", tokens.ids),
                                             first_rows(l, tokens, l.tensor("positional_embedding"))});
    const std::string x = l.transformer(placed, "transformer", shape_of(text),
                                        text.bidirectional ? "" : causal_mask(l, tokens, text.context));
    const std::vector<OnnxAttribute> along{{"axis", std::int64_t{1}}, {"keepdims", std::int64_t{1}}};
    if (text.readout == jobs::TextReadout::kFirst) {
      row = row_number(l, x, 0);
    } else if (text.readout == jobs::TextReadout::kLast) {
      row = row_number(l, x, text.context - 1);
    } else if (text.readout == jobs::TextReadout::kLargest) {
      row = rows_at(l, x, g.add("ArgMax", {tokens.ids}, along));
    } else {
      const std::string end = g.add(
          "Cast", {g.add("Equal", {tokens.ids, id(l, text.end_token.value_or(model.tokenizer().end_id()))})},
          {{"to", std::int64_t{6}}});  // int32
      row = rows_at(l, x, g.add("ArgMax", {end}, along));
    }
  }
  return l.layer_norm(row, "ln_final", text.layer_norm_epsilon.value_or(1e-5));
}

std::string bert_layer(OnnxLayers& l, const std::string& x, const std::string& name, std::int64_t heads,
                       std::int64_t width, const std::string& mask) {
  TensorGraph& g = l.graph;
  const auto dense = [&](const std::string& value, const char* which) {
    return l.linear(value, name + which + ".weight", name + which + ".bias");
  };
  const auto part = [&](const char* which) { return l.heads_of(dense(x, which), heads, width); };
  const std::string mixed = l.attend(part(".attention.self.query"), part(".attention.self.key"),
                                     part(".attention.self.value"), heads, width, mask);
  const std::string hidden = l.layer_norm(g.add("Add", {x, dense(mixed, ".attention.output.dense")}),
                                          name + ".attention.output.LayerNorm", 1e-12);
  const std::string inner = l.activate(dense(hidden, ".intermediate.dense"), nn::Activation::kGelu);
  return l.layer_norm(g.add("Add", {hidden, dense(inner, ".output.dense")}), name + ".output.LayerNorm",
                      1e-12);
}

std::string bert(OnnxLayers& l, const models::DualEncoder& model, const Tokens& tokens) {
  TensorGraph& g = l.graph;
  const jobs::TextTowerSpec& text = model.spec().text;
  const std::string present = g.add("Not", {g.add("Equal", {tokens.ids, id(l, model.tokenizer().pad_id())})});
  const std::string mask = mask_of(l, present), table = "text.embeddings.";
  const at::Tensor places = l.tensor(table + "position_embeddings.weight") +
                            l.tensor(table + "token_type_embeddings.weight").select(0, 0);
  std::string x = l.layer_norm(g.add("Add", {embedded(l, table + "word_embeddings.weight", tokens.ids),
                                             first_rows(l, tokens, places)}),
                               table + "LayerNorm", 1e-12);
  for (std::int64_t i = 0; i < text.layers; ++i)
    x = bert_layer(l, x, "text.encoder.layer." + std::to_string(i), text.heads, text.width, mask);
  if (text.pooling == jobs::TextPooling::kCls) return row_number(l, x, 0);
  if (text.pooling == jobs::TextPooling::kPooler)
    return l.tanh(l.linear(row_number(l, x, 0), "text.pooler.dense.weight", "text.pooler.dense.bias"));
  const std::string weight =
      g.add("Unsqueeze", {g.add("Cast", {present}, {{"to", std::int64_t{1}}}), g.numbers({2})});
  const auto summed = [&](const std::string& value) {
    return g.add("ReduceSum", {value, g.numbers({1})}, {{"keepdims", std::int64_t{0}}});
  };
  return g.add("Div", {summed(g.add("Mul", {x, weight})), g.add("Max", {summed(weight), g.number(1)})});
}

}  // namespace

bool onnx_text_is_padded(const jobs::TextTowerSpec& text) {
  return text.kind == jobs::TextTowerKind::kTransformer &&
         (text.readout == jobs::TextReadout::kClass || text.bidirectional ||
          text.readout == jobs::TextReadout::kLast);
}

void build_onnx_text(OnnxLayers& layers, const models::DualEncoder& model) {
  TensorGraph& g = layers.graph;
  const jobs::TextTowerSpec& text = model.spec().text;
  Tokens tokens;
  tokens.ids = onnx_text_is_padded(text) ? g.input("input_ids", {"batch", text.context}, true)
                                         : g.input("input_ids", {"batch", "length"}, true);
  tokens.length = g.add("Slice", {g.add("Shape", {tokens.ids}), g.numbers({1}), g.numbers({2})});
  const std::string features = text.kind == jobs::TextTowerKind::kBert ? bert(layers, model, tokens)
                                                                       : clip_text(layers, model, tokens);
  g.output(layers.project(features, text.projection, "text_projection", "text.projection"), "text_embeds",
           {"batch", model.spec().embed_dim});
}

}  // namespace trireme::worker::exchange
