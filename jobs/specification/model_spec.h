// What a model is, as data: two towers, two projections to one space, a temperature. Named in `spec.models`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/specification/json/fields.h"
#include "jobs/specification/stages/named_stage.h"

namespace trireme::jobs {

// Which statistics the batch norms of an image tower use while it trains (evaluation: the stored ones).
struct BatchNormSpec {
  std::string policy;       // default: "stored" with weights, "ghost" without
  std::int64_t group = 16;  // "ghost": samples per group
  double momentum = 0.01;   // share of the batch in the stored statistics
  double epsilon = 1e-3;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("policy", policy,
            {.help = "statistics in training: stored (as they are), batch (of the slot), ghost (of groups); "
                     "empty: stored with weights, ghost from scratch",
             .choices = {"", "stored", "batch", "ghost"}});
    v.field("group", group,
            {.help = "ghost: samples per group",
             .least = 1,
             .most = 65536,
             .unread = unless(policy.empty() || policy == "ghost", "only policy ghost has groups")});
    v.field("momentum", momentum,
            {.help = "share of a step in the stored statistics", .least = 0, .most = 1});
    v.field("epsilon", epsilon, {.help = "added to the variance", .least = 1e-8, .most = 0.1});
  }
};

// How an image becomes a tensor: resize (antialiased) the short side to resize_px, the long side truncated
// ("shortest"), both sides ("square"), or the long side, the rest filled with fill_level ("longest"); centre
// crop to image_px, (byte/255 - mean)/std. Training crops at random instead (AugmentSpec). Empty or absent
// fields take what the config beside the weights says (jobs/checkpoint), else the tower's own values, see
// model_defaults.h.
struct ImageTowerSpec {
  std::string kind = "vit";  // "vit" (CLIP vision transformer), "efficientnet_…"
  std::string weights;       // safetensors path or "pretrained:<name>"; empty: from scratch
  bool frozen = false;       // no gradient; its output can be stored once by an embed stage
  std::int64_t image_px = 224;
  std::optional<std::int64_t> resize_px;
  std::string resize_mode, interpolation;
  std::vector<double> mean, std;  // 3 each
  std::string projection;         // into the shared space: "matrix", "linear", "none"
  double stochastic_depth = 0;    // share of samples that skip the last block; linear from 0 at the first
  bool gradient_checkpointing = false;
  std::int64_t patch_px = 32;  // vit, as are the next nine
  std::int64_t width = 768;
  std::int64_t layers = 12;
  std::int64_t heads = 12;
  bool quick_gelu = false;
  bool ln_pre = true;
  bool patch_bias = false;
  double layer_norm_epsilon = 1e-5;
  double patch_dropout = 0;
  std::string position_resize = "antialias";
  std::optional<std::int64_t> mlp_width;  // inside of the blocks' MLPs; 4 width
  std::string activation;                 // "gelu_tanh" instead of what quick_gelu says
  std::string pooling;                    // "class", "mean", "attention", "queries"
  bool norm_after_pooling = false, layer_scale = false, no_class_token = false;
  // EVA's blocks: norms behind the branches, a gated MLP, norms inside attention and MLP; rotary positions.
  bool post_norm = false, gated_mlp = false, attention_norm = false, mlp_norm = false;
  std::string rotary;
  std::optional<std::int64_t> rotary_offset, rotary_reference;
  std::optional<std::int64_t> pooling_heads, pooling_queries, pooling_width, pooling_mlp_width;
  std::optional<std::int64_t> fill_level;            // resize_mode "longest"
  std::optional<double> width_factor, depth_factor;  // efficientnet, as are the next three
  std::string padding;
  std::optional<bool> head_conv;
  BatchNormSpec batch_norm;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("kind", kind, {.help = "image tower", .choices = image_tower_kinds()});
    v.field("weights", weights,
            {.help = "safetensors file or checkpoint folder, or pretrained:efficientnet-lite0; empty: from "
                     "scratch"});
    v.field("frozen", frozen,
            {.help = "keep the tower as it is; its outputs can be stored once by an embed stage"});
    v.field("image_px", image_px, {.help = "side of the square input", .least = 8, .most = 1024});
    v.field("resize_px", resize_px, {.help = "side before the centre crop", .least = 8, .most = 2048});
    v.field(
        "resize_mode", resize_mode,
        {.help = "resize_px is the short side (shortest), both sides, which distorts (square), or the long "
                 "side, the rest filled (longest)",
         .choices = {"", "shortest", "square", "longest"}});
    v.field("fill_level", fill_level,
            {.help = "longest: byte value of what is filled (0)", .least = 0, .most = 255, .quiet = true});
    v.field("interpolation", interpolation,
            {.help = "antialiased filter of the resize", .choices = {"", "bicubic", "bilinear"}});
    v.field("mean", mean, {.help = "per channel, of bytes/255", .most = 3});
    v.field("std", std, {.help = "per channel, of bytes/255", .most = 3});
    v.field("projection", projection,
            {.help = "into the shared space: x P (matrix), x W^T + b (linear), or none, when the tower is as "
                     "wide as embed_dim; empty: matrix for vit, linear for efficientnet",
             .choices = {"", "matrix", "linear", "none"}});
    v.field("stochastic_depth", stochastic_depth,
            {.help = "share of samples that skip the last residual block; falls linearly to 0 at the first",
             .least = 0,
             .most = 0.9});
    v.field("gradient_checkpointing", gradient_checkpointing,
            {.help = "keep the input of each block only and compute it again for its gradient"});
    visit_vit(v);
    visit_efficientnet(v);
  }

  static std::vector<std::string> image_tower_kinds() {
    return {"vit",
            "efficientnet_b0",
            "efficientnet_b1",
            "efficientnet_b2",
            "efficientnet_b3",
            "efficientnet_b4",
            "efficientnet_b5",
            "efficientnet_b6",
            "efficientnet_b7",
            "efficientnet_l2",
            "efficientnet_lite0",
            "efficientnet_lite1",
            "efficientnet_lite2"};
  }

 private:
  template <class Visitor>
  void visit_vit(Visitor& v) {
    v.field("patch_px", patch_px,
            {.help = "vit: side of a patch",
             .least = 1,
             .most = 256,
             .unread = unless(kind == "vit", "an efficientnet has none")});
    v.field("width", width,
            {.help = "vit: width",
             .least = 8,
             .most = 8192,
             .unread = unless(kind == "vit", "an efficientnet has none")});
    v.field("layers", layers,
            {.help = "vit: blocks",
             .least = 1,
             .most = 128,
             .unread = unless(kind == "vit", "an efficientnet has none")});
    v.field("heads", heads,
            {.help = "vit: attention heads",
             .least = 1,
             .most = 128,
             .unread = unless(kind == "vit", "an efficientnet has none")});
    v.field("quick_gelu", quick_gelu,
            {.help = "vit: x*sigmoid(1.702x) instead of the exact GELU",
             .unread = unless(kind == "vit", "an efficientnet has none")});
    v.field("ln_pre", ln_pre,
            {.help = "vit: layer norm before the first block (CLIP's)",
             .unread = unless(kind == "vit", "an efficientnet has none")});
    v.field("patch_bias", patch_bias,
            {.help = "vit: the patch convolution has a bias (not CLIP's)",
             .unread = unless(kind == "vit", "an efficientnet has none")});
    v.field("layer_norm_epsilon", layer_norm_epsilon,
            {.help = "vit: added to the variance",
             .least = 1e-12,
             .most = 0.1,
             .unread = unless(kind == "vit", "an efficientnet has none")});
    v.field("patch_dropout", patch_dropout,
            {.help = "vit: share of patches left out of each training image (FLIP)",
             .least = 0,
             .most = 0.95,
             .unread = unless(kind == "vit", "an efficientnet has none")});
    v.field(
        "position_resize", position_resize,
        {.help = "vit: how position embeddings of another resolution become ours: bicubic with half-pixel "
                 "centres and antialias, or with aligned corners (older open_clip)",
         .choices = {"antialias", "align_corners"}});
    v.field("mlp_width", mlp_width,
            {.help = "vit: width inside the blocks' MLPs; null: 4 width",
             .least = 8,
             .most = 65536,
             .quiet = true});
    v.field("activation", activation,
            {.help = "vit: gelu_tanh is GELU by its tanh formula; empty: as quick_gelu says",
             .choices = {"", "gelu_tanh"},
             .quiet = true});
    v.field(
        "pooling", pooling,
        {.help = "vit: the class token (class, also when empty), the mean of the patches, SigLIP's attention "
                 "with its MLP (attention), or CoCa's first query (queries)",
         .choices = {"", "class", "mean", "attention", "queries"},
         .quiet = true});
    v.field("norm_after_pooling", norm_after_pooling,
            {.help = "vit: the last layer norm acts on the pooled vector", .quiet = true});
    v.field("layer_scale", layer_scale,
            {.help = "vit: a trained factor per channel of each residual branch", .quiet = true});
    v.field("no_class_token", no_class_token, {.help = "vit: patches alone, as SigLIP", .quiet = true});
    v.field("post_norm", post_norm,
            {.help = "vit: layer norms behind the branches (EVA02-E)", .quiet = true});
    v.field("gated_mlp", gated_mlp,
            {.help = "vit: the MLP's input is SiLU of one product times another (EVA02)", .quiet = true});
    v.field("attention_norm", attention_norm,
            {.help = "vit: a layer norm before attention's output product", .quiet = true});
    v.field("mlp_norm", mlp_norm,
            {.help = "vit: a layer norm before the MLP's output product", .quiet = true});
    v.field(
        "rotary", rotary,
        {.help =
             "vit: rotary positions of the patches beside the learnt ones, by row and column (ij) or column "
             "and row (xy)",
         .choices = {"", "ij", "xy"},
         .quiet = true});
    v.field("rotary_offset", rotary_offset,
            {.help = "vit: number of the first row and column (0)", .least = 0, .most = 16, .quiet = true});
    v.field(
        "rotary_reference", rotary_reference,
        {.help =
             "vit: patches a side that rotary positions count as, whatever the resolution; null: as many as "
             "there are",
         .least = 1,
         .most = 1024,
         .quiet = true});
    v.field("pooling_heads", pooling_heads,
            {.help = "vit, pooling by attention or queries: heads; null: as heads, 8 for queries",
             .least = 1,
             .most = 128,
             .quiet = true});
    v.field("pooling_queries", pooling_queries,
            {.help = "vit, pooling by queries: how many there are (256)",
             .least = 1,
             .most = 4096,
             .quiet = true});
    v.field("pooling_mlp_width", pooling_mlp_width,
            {.help = "vit, pooling by attention: width inside its MLP; null: as in the blocks",
             .least = 8,
             .most = 65536,
             .quiet = true});
    v.field("pooling_width", pooling_width,
            {.help = "vit, pooling by queries: width of what they give; null: as width",
             .least = 8,
             .most = 8192,
             .quiet = true});
  }
  template <class Visitor>
  void visit_efficientnet(Visitor& v) {
    v.field("width_factor", width_factor,
            {.help = "efficientnet: factor of the widths instead of the kind's own",
             .least = 0.1,
             .most = 10,
             .unread = unless(kind != "vit", "a vit has none")});
    v.field("depth_factor", depth_factor,
            {.help = "efficientnet: factor of the repeats instead of the kind's own",
             .least = 0.1,
             .most = 10,
             .unread = unless(kind != "vit", "a vit has none")});
    v.field("padding", padding,
            {.help = "efficientnet, stride 2: one pixel less before than after at any size (asymmetric, "
                     "ALIGN's), TensorFlow's SAME (same), or PyTorch's (symmetric); empty: asymmetric for b0 "
                     "to l2, same for lite",
             .choices = {"", "asymmetric", "same", "symmetric"},
             .unread = unless(kind != "vit", "a vit has none")});
    v.field("head_conv", head_conv,
            {.help = "efficientnet: the classifier's 1x1 convolution before the pooling; default: lite only",
             .unread = unless(kind != "vit", "a vit has none")});
    v.field("batch_norm", batch_norm,
            {.help = "efficientnet: batch norm", .unread = unless(kind != "vit", "a vit has none")});
  }
};

struct TokenizerSpec {
  std::string kind =
      "hashed_words";      // "clip_bpe", "wordpiece", "hashed_words" (lower-cased words hashed into buckets)
  std::string vocabulary;  // clip_bpe: merges file; wordpiece: vocab.txt; a path, "pretrained:<name>", or
                           // "stage:<name>" of a vocabulary stage
  std::int64_t buckets = 4096;        // hashed_words: vocabulary size, specials included
  bool lower_case = true;             // wordpiece (false: a cased vocabulary), clip_bpe
  std::optional<bool> strip_accents;  // wordpiece; as lower_case when null
  bool split_ideographs = true;       // wordpiece
  bool unescape_html = true;          // clip_bpe: twice
  bool collapse_space = true;         // clip_bpe

  bool repair_text = false;  // clip_bpe: the part of ftfy that worker/text/repair_text.h has
  // As open_clip cleans captions before any tokenizer: repair_text, HTML references twice, then by kind.
  std::string cleaning;    // "whitespace", "lower", "canonicalize"; "plain": nothing of all that
  bool strip_end = false;  // wordpiece: padding where the end mark stood (CLIPA)
  std::string marks;       // sentencepiece: "t5", "siglip", "xlm_roberta"

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("kind", kind,
            {.help = "how a caption becomes token ids",
             .choices = {"clip_bpe", "wordpiece", "hashed_words", "sentencepiece"}});
    v.field("vocabulary", vocabulary,
            {.help = "merges file, vocab.txt or SentencePiece model; pretrained:clip or pretrained:minilm; "
                     "stage:<name>"});
    v.field("buckets", buckets, {.help = "hashed_words: vocabulary size", .least = 16, .most = 1048576});
    v.field("lower_case", lower_case, {.help = "wordpiece, clip_bpe: false for a cased vocabulary"});
    v.field("strip_accents", strip_accents, {.help = "wordpiece: null means as lower_case"});
    v.field("split_ideographs", split_ideographs, {.help = "wordpiece: every CJK ideograph by itself"});
    v.field("unescape_html", unescape_html, {.help = "clip_bpe: HTML references, twice over"});
    v.field("repair_text", repair_text,
            {.help = "clip_bpe: mend misread encodings, quotes, widths and controls first, as ftfy would"});
    v.field("collapse_space", collapse_space, {.help = "clip_bpe: runs of white space to one blank"});
    v.field(
        "cleaning", cleaning,
        {.help =
             "open_clip's cleaning before any tokenizer, instead of the switches above: text repaired, HTML "
             "references undone twice, white space to blanks (whitespace), lower case too (lower), and "
             "no punctuation (canonicalize); plain: only white space and lower case, as transformers' CLIP",
         .choices = {"", "whitespace", "lower", "canonicalize", "plain"},
         .quiet = true});
    v.field(
        "marks", marks,
        {.help =
             "sentencepiece: an end mark behind the pieces and padding (t5), the same padded with end marks "
             "(siglip), or fairseq's ids with a start mark too (xlm_roberta); empty: t5",
         .choices = {"", "t5", "siglip", "xlm_roberta"},
         .quiet = true});
    v.field("strip_end", strip_end,
            {.help = "wordpiece: padding instead of the end mark (CLIPA)", .quiet = true});
  }
};

// The vocabulary stage that makes the vocabulary ("stage:<name>"), "" when it is a file.
inline std::string vocabulary_stage(const TokenizerSpec& tokenizer) {
  return named_stage(tokenizer.vocabulary);
}

struct TextTowerSpec {
  std::string kind = "transformer";  // "transformer" (CLIP's causal one), "bert"; "decoder" makes the model a
                                     // captioner: BLIP's causal BERT that looks at the image tower's tokens
  std::string weights;
  bool frozen = false;
  TokenizerSpec tokenizer;
  std::int64_t context = 77;  // longest sequence; longer captions are truncated and counted
  std::int64_t width = 512;
  std::int64_t layers = 12;
  std::int64_t heads = 8;
  bool quick_gelu = false;
  std::string pooling = "mean";  // bert
  std::int64_t positions = 512;  // bert, decoder
  std::string projection;
  bool gradient_checkpointing = false;
  // decoder: ids behind the tokenizer's vocabulary, the first of which starts a caption (BLIP has 2); without
  // any the tokenizer's own start mark does.
  std::int64_t extra_tokens = 0;
  bool tied_head = true;
  // transformer: which position is read, CLIP's being the first end mark ("end"); where padding can be seen,
  // sequences are padded to `context`.
  std::string readout;
  std::optional<std::int64_t> end_token;  // the id that "end" looks for; null: the tokenizer's
  bool bidirectional = false, layer_scale = false;
  std::string activation;
  std::optional<std::int64_t> mlp_width;
  std::optional<double> layer_norm_epsilon;  // 1e-5
  std::string prompt;  // decoder: what captions start with; not learnt, left out of what is written

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("kind", kind,
            {.help = "text tower; decoder (BERT blocks with cross-attention) makes the model a captioner",
             .choices = {"transformer", "bert", "decoder"}});
    v.field("weights", weights,
            {.help = "safetensors file or checkpoint folder, or pretrained:minilm; empty: from scratch"});
    v.field("frozen", frozen,
            {.help = "keep the tower as it is; its outputs can be stored once by an embed stage"});
    v.field("tokenizer", tokenizer, {.help = "tokenizer"});
    v.field("context", context, {.help = "longest token sequence", .least = 4, .most = 4096});
    v.field("width", width, {.help = "width", .least = 8, .most = 8192});
    v.field("layers", layers, {.help = "blocks", .least = 1, .most = 128});
    v.field("heads", heads, {.help = "attention heads", .least = 1, .most = 128});
    v.field("quick_gelu", quick_gelu,
            {.help = "transformer: x*sigmoid(1.702x) instead of the exact GELU",
             .unread = unless(kind == "transformer", "only a transformer has it")});
    v.field("pooling", pooling,
            {.help = "bert: mean of the tokens, the first token (cls, ALIGN's), or the first through the "
                     "pooler's dense and tanh",
             .choices = {"mean", "cls", "pooler"},
             .unread = unless(kind == "bert", "only bert has it")});
    v.field("positions", positions,
            {.help = "bert, decoder: position embeddings",
             .least = 4,
             .most = 4096,
             .unread = unless(kind != "transformer", "a transformer has as many as context")});
    v.field("projection", projection,
            {.help = "into the shared space: x P (matrix), x W^T + b (linear), or none, when the tower is as "
                     "wide as embed_dim; empty: matrix for transformer, linear for bert",
             .choices = {"", "matrix", "linear", "none"}});
    v.field("gradient_checkpointing", gradient_checkpointing,
            {.help = "keep the input of each block only and compute it again for its gradient"});
    v.field(
        "extra_tokens", extra_tokens,
        {.help = "decoder: ids behind the tokenizer's vocabulary, the first starts a caption (BLIP: 2); 0: "
                 "the tokenizer's start mark does",
         .least = 0,
         .most = 1024});
    v.field("tied_head", tied_head, {.help = "decoder: the output layer is the word embeddings"});
    v.field(
        "readout", readout,
        {.help = "transformer: the position that is read: the first end mark (end, also when empty), the "
                 "largest id (largest), first, last of the whole context, or a class token behind it (class, "
                 "CoCa's)",
         .choices = {"", "end", "largest", "first", "last", "class"},
         .quiet = true});
    v.field("end_token", end_token,
            {.help = "transformer: id of the end mark; null: the tokenizer's",
             .least = 0,
             .most = 4194304,
             .quiet = true});
    v.field("bidirectional", bidirectional, {.help = "transformer: no causal mask", .quiet = true});
    v.field("layer_scale", layer_scale,
            {.help = "transformer: a trained factor per channel of each residual branch", .quiet = true});
    v.field("activation", activation,
            {.help = "transformer: gelu_tanh is GELU by its tanh formula; empty: as quick_gelu says",
             .choices = {"", "gelu_tanh"},
             .quiet = true});
    v.field("mlp_width", mlp_width,
            {.help = "transformer: width inside the blocks' MLPs; null: 4 width",
             .least = 8,
             .most = 65536,
             .quiet = true});
    v.field("layer_norm_epsilon", layer_norm_epsilon,
            {.help = "transformer: added to the variance; null: 1e-5",
             .least = 1e-12,
             .most = 0.1,
             .quiet = true});
    v.field("prompt", prompt,
            {.help = "decoder: what every caption starts with, not learnt and not written (BLIP: \"a picture "
                     "of \")",
             .most = 512});
  }
};

struct ModelSpec {
  ImageTowerSpec image;
  TextTowerSpec text;
  std::int64_t embed_dim = 512;
  double logit_scale_init = 2.6592600369327779;  // ln(1/0.07)
  double logit_scale_min = 0;                    // clamps after every update
  double logit_scale_max = 4.6051701859880914;   // ln 100
  std::string init_from;                         // a whole checkpoint, both towers: file or folder
  std::vector<std::string> freeze;               // patterns of parameter names; "!pattern" takes back

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("image", image, {.help = "image tower", .required = true});
    v.field("text", text, {.help = "text tower", .required = true});
    v.field("embed_dim", embed_dim, {.help = "width of the shared space", .least = 2, .most = 8192});
    v.field("logit_scale_init", logit_scale_init,
            {.help = "ln(1/temperature) at the start",
             .least = -5,
             .most = 10,
             .unread = unless(text.kind != "decoder", "a captioner has no shared space")});
    v.field("logit_scale_min", logit_scale_min,
            {.help = "lower clamp of ln(1/temperature)",
             .least = -5,
             .most = 10,
             .unread = unless(text.kind != "decoder", "a captioner has no shared space")});
    v.field("logit_scale_max", logit_scale_max,
            {.help = "upper clamp of ln(1/temperature)",
             .least = 0,
             .most = 10,
             .unread = unless(text.kind != "decoder", "a captioner has no shared space")});
    v.field("init_from", init_from,
            {.help = "checkpoint of both towers to start from: a safetensors file or a folder, of open_clip, "
                     "OpenAI CLIP, transformers or Trireme"});
    v.field("freeze", freeze,
            {.help = "parameters that are not trained, by name: * stands for any characters, a leading ! "
                     "trains again what an earlier pattern froze; a batch norm with frozen scale keeps its "
                     "statistics"});
  }
};

}  // namespace trireme::jobs
