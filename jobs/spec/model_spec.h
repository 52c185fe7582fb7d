// What a model is, as data: two towers, two projections to one space, a temperature. Named in `spec.models`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/spec/fields.h"

namespace trireme::jobs {

// How an image becomes a tensor: resize the short side to resize_px (antialiased bicubic, the long side
// truncated), centre crop to image_px, (byte/255 - mean)/std. Training crops at random instead (AugmentSpec).
struct ImageTowerSpec {
  std::string kind = "vit";  // "vit" (CLIP vision transformer), "efficientnet_lite0"
  std::string weights;       // safetensors path or "pretrained:<name>"; empty: from scratch (vit only)
  bool frozen = false;       // no gradient; its output can be stored once by an embed stage
  std::int64_t image_px = 224;
  std::optional<std::int64_t> resize_px;  // default image_px (256 for efficientnet_lite0)
  std::vector<double> mean, std;          // 3 each; empty: CLIP's (0.5 each for efficientnet_lite0)
  std::int64_t patch_px = 32;             // vit only, as are the next four
  std::int64_t width = 768;
  std::int64_t layers = 12;
  std::int64_t heads = 12;
  bool quick_gelu = false;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("kind", kind, {.help = "image tower", .choices = {"vit", "efficientnet_lite0"}});
    v.field("weights", weights,
            {.help = "safetensors file, or pretrained:efficientnet-lite0; empty: from scratch (vit)"});
    v.field("frozen", frozen,
            {.help = "keep the tower as it is; its outputs can be stored once by an embed stage"});
    v.field("image_px", image_px, {.help = "side of the square input", .least = 8, .most = 1024});
    v.field("resize_px", resize_px, {.help = "short side before the centre crop", .least = 8, .most = 2048});
    v.field("mean", mean, {.help = "per channel, of bytes/255", .most = 3});
    v.field("std", std, {.help = "per channel, of bytes/255", .most = 3});
    v.field("patch_px", patch_px, {.help = "vit: side of a patch", .least = 1, .most = 256});
    v.field("width", width, {.help = "vit: width", .least = 8, .most = 8192});
    v.field("layers", layers, {.help = "vit: blocks", .least = 1, .most = 128});
    v.field("heads", heads, {.help = "vit: attention heads", .least = 1, .most = 128});
    v.field("quick_gelu", quick_gelu, {.help = "vit: x*sigmoid(1.702x) instead of the exact GELU"});
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

  template <class Visitor>
  void visit(Visitor& v) {
    v.field(
        "kind", kind,
        {.help = "how a caption becomes token ids", .choices = {"clip_bpe", "wordpiece", "hashed_words"}});
    v.field("vocabulary", vocabulary,
            {.help = "merges file or vocab.txt; pretrained:clip or pretrained:minilm; stage:<name>"});
    v.field("buckets", buckets, {.help = "hashed_words: vocabulary size", .least = 16, .most = 1048576});
    v.field("lower_case", lower_case, {.help = "wordpiece, clip_bpe: false for a cased vocabulary"});
    v.field("strip_accents", strip_accents, {.help = "wordpiece: null means as lower_case"});
    v.field("split_ideographs", split_ideographs, {.help = "wordpiece: every CJK ideograph by itself"});
    v.field("unescape_html", unescape_html, {.help = "clip_bpe: HTML references, twice over"});
    v.field("repair_text", repair_text,
            {.help = "clip_bpe: mend misread encodings, quotes, widths and controls first, as ftfy would"});
    v.field("collapse_space", collapse_space, {.help = "clip_bpe: runs of white space to one blank"});
  }
};

// The vocabulary stage that makes the vocabulary ("stage:<name>"), "" when it is a file.
inline std::string vocabulary_stage(const TokenizerSpec& tokenizer) {
  constexpr std::string_view kPrefix = "stage:";
  return tokenizer.vocabulary.starts_with(kPrefix) ? tokenizer.vocabulary.substr(kPrefix.size()) : "";
}

struct TextTowerSpec {
  std::string kind =
      "transformer";  // "transformer" (CLIP's causal one), "bert" (MiniLM and relatives, mean pooling)
  std::string weights;
  bool frozen = false;
  TokenizerSpec tokenizer;
  std::int64_t context = 77;  // longest sequence; longer captions are truncated and counted
  std::int64_t width = 512;
  std::int64_t layers = 12;
  std::int64_t heads = 8;
  bool quick_gelu = false;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("kind", kind, {.help = "text tower", .choices = {"transformer", "bert"}});
    v.field("weights", weights,
            {.help = "safetensors file, or pretrained:minilm; empty: from scratch (transformer)"});
    v.field("frozen", frozen,
            {.help = "keep the tower as it is; its outputs can be stored once by an embed stage"});
    v.field("tokenizer", tokenizer, {.help = "tokenizer"});
    v.field("context", context, {.help = "longest token sequence", .least = 4, .most = 4096});
    v.field("width", width, {.help = "width", .least = 8, .most = 8192});
    v.field("layers", layers, {.help = "blocks", .least = 1, .most = 128});
    v.field("heads", heads, {.help = "attention heads", .least = 1, .most = 128});
    v.field("quick_gelu", quick_gelu, {.help = "x*sigmoid(1.702x) instead of the exact GELU"});
  }
};

struct ModelSpec {
  ImageTowerSpec image;
  TextTowerSpec text;
  std::int64_t embed_dim = 512;
  double logit_scale_init = 2.6592600369327779;  // ln(1/0.07)
  double logit_scale_min = 0;                    // clamps after every update
  double logit_scale_max = 4.6051701859880914;   // ln 100

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("image", image, {.help = "image tower", .required = true});
    v.field("text", text, {.help = "text tower", .required = true});
    v.field("embed_dim", embed_dim, {.help = "width of the shared space", .least = 2, .most = 8192});
    v.field("logit_scale_init", logit_scale_init,
            {.help = "ln(1/temperature) at the start", .least = -5, .most = 10});
    v.field("logit_scale_min", logit_scale_min,
            {.help = "lower clamp of ln(1/temperature)", .least = -5, .most = 10});
    v.field("logit_scale_max", logit_scale_max,
            {.help = "upper clamp of ln(1/temperature)", .least = 0, .most = 10});
  }
};

}  // namespace trireme::jobs
