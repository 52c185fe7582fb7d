// What a model is, as data: two towers, two projections to one space, a temperature. Named in `spec.models`.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/specification/image_tower_spec.h"
#include "jobs/specification/json/fields.h"
#include "jobs/specification/stages/named_stage.h"

namespace trireme::jobs {

enum class TokenizerKind { kClipBpe, kWordPiece, kHashedWords, kSentencePiece };
constexpr std::array<std::string_view, 4> names_of(TokenizerKind) {
  return {"clip_bpe", "wordpiece", "hashed_words", "sentencepiece"};
}
enum class CaptionCleaning { kUnset, kWhitespace, kLower, kCanonicalize, kPlain, kUnpunctuated };
constexpr std::array<std::string_view, 6> names_of(CaptionCleaning) {
  return {"", "whitespace", "lower", "canonicalize", "plain", "unpunctuated"};
}
enum class TokenMarks { kUnset, kT5, kSiglip, kXlmRoberta };
constexpr std::array<std::string_view, 4> names_of(TokenMarks) {
  return {"", "t5", "siglip", "xlm_roberta"};
}

struct TokenizerSpec {
  TokenizerKind kind = TokenizerKind::kHashedWords;  // lower-cased words hashed into buckets
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
  CaptionCleaning cleaning = CaptionCleaning::kUnset;  // kPlain: nothing of all that
  bool strip_end = false;                              // wordpiece: padding where the end mark stood (CLIPA)
  TokenMarks marks = TokenMarks::kUnset;               // sentencepiece

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("kind", kind, {.help = "how a caption becomes token ids"});
    v.field("vocabulary", vocabulary,
            {.help = "merges file, vocab.txt or SentencePiece model; pretrained:clip or pretrained:minilm; "
                     "stage:<name>",
             .unread = unless(kind != TokenizerKind::kHashedWords, "hashed_words has no vocabulary")});
    v.field("buckets", buckets,
            {.help = "hashed_words: vocabulary size",
             .least = 16,
             .most = 1048576,
             .unread = unless(kind == TokenizerKind::kHashedWords, "only hashed_words has buckets")});
    v.field("lower_case", lower_case,
            {.help = "wordpiece, clip_bpe: false for a cased vocabulary",
             .unread = unless(kind == TokenizerKind::kWordPiece || kind == TokenizerKind::kClipBpe,
                              "only wordpiece and clip_bpe have it")});
    v.field("strip_accents", strip_accents,
            {.help = "wordpiece: null means as lower_case",
             .unread = unless(kind == TokenizerKind::kWordPiece, "only wordpiece has it")});
    v.field("split_ideographs", split_ideographs,
            {.help = "wordpiece: every CJK ideograph by itself",
             .unread = unless(kind == TokenizerKind::kWordPiece, "only wordpiece has it")});
    v.field("unescape_html", unescape_html,
            {.help = "clip_bpe: HTML references, twice over",
             .unread = unless(kind == TokenizerKind::kClipBpe, "only clip_bpe has it")});
    v.field("repair_text", repair_text,
            {.help = "clip_bpe: mend misread encodings, quotes, widths and controls first, as ftfy would",
             .unread = unless(kind == TokenizerKind::kClipBpe, "only clip_bpe has it")});
    v.field("collapse_space", collapse_space,
            {.help = "clip_bpe: runs of white space to one blank",
             .unread = unless(kind == TokenizerKind::kClipBpe, "only clip_bpe has it")});
    v.field(
        "cleaning", cleaning,
        {.help =
             "open_clip's cleaning before any tokenizer, instead of the switches above: text repaired, HTML "
             "references undone twice, white space to blanks (whitespace), lower case too (lower), and "
             "no punctuation (canonicalize); plain: only white space and lower case, as transformers' CLIP; "
             "unpunctuated: that without ASCII punctuation, as transformers' SigLIP",
         .quiet = true});
    v.field(
        "marks", marks,
        {.help =
             "sentencepiece: an end mark behind the pieces and padding (t5), the same padded with end marks "
             "(siglip), or fairseq's ids with a start mark too (xlm_roberta); empty: t5",
         .quiet = true,
         .unread = unless(kind == TokenizerKind::kSentencePiece, "only sentencepiece has it")});
    v.field("strip_end", strip_end,
            {.help = "wordpiece: padding instead of the end mark (CLIPA)",
             .quiet = true,
             .unread = unless(kind == TokenizerKind::kWordPiece, "only wordpiece has it")});
  }
};

// The vocabulary stage that makes the vocabulary ("stage:<name>"), "" when it is a file.
inline std::string vocabulary_stage(const TokenizerSpec& tokenizer) {
  return named_stage(tokenizer.vocabulary);
}
// kTransformer is CLIP's causal one; kDecoder makes the model a captioner: BLIP's causal BERT that looks at
// the image tower's tokens.
enum class TextTowerKind { kTransformer, kBert, kDecoder };
constexpr std::array<std::string_view, 3> names_of(TextTowerKind) {
  return {"transformer", "bert", "decoder"};
}
enum class TextPooling { kMean, kCls, kPooler };
constexpr std::array<std::string_view, 3> names_of(TextPooling) {
  return {"mean", "cls", "pooler"};
}
enum class TextReadout { kUnset, kEnd, kLargest, kFirst, kLast, kClass };
constexpr std::array<std::string_view, 6> names_of(TextReadout) {
  return {"", "end", "largest", "first", "last", "class"};
}

struct TextTowerSpec {
  TextTowerKind kind = TextTowerKind::kTransformer;
  std::string weights;
  bool frozen = false;
  TokenizerSpec tokenizer;
  std::int64_t context = 77;  // longest sequence; longer captions are truncated and counted
  std::int64_t width = 512;
  std::int64_t layers = 12;
  std::int64_t heads = 8;
  bool quick_gelu = false;
  TextPooling pooling = TextPooling::kMean;  // bert
  std::int64_t positions = 512;              // bert, decoder
  ProjectionKind projection = ProjectionKind::kUnset;
  bool gradient_checkpointing = false;
  // decoder: ids behind the tokenizer's vocabulary, the first of which starts a caption (BLIP has 2); without
  // any the tokenizer's own start mark does.
  std::int64_t extra_tokens = 0;
  bool tied_head = true;
  // transformer: which position is read, CLIP's being the first end mark ("end"); where padding can be seen,
  // sequences are padded to `context`.
  TextReadout readout = TextReadout::kUnset;
  std::optional<std::int64_t> end_token;  // the id that "end" looks for; null: the tokenizer's
  bool bidirectional = false, layer_scale = false;
  ActivationKind activation = ActivationKind::kByQuickGelu;
  std::optional<std::int64_t> mlp_width;
  std::optional<double> layer_norm_epsilon;  // 1e-5
  std::string prompt;  // decoder: what captions start with; not learnt, left out of what is written

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("kind", kind,
            {.help = "text tower; decoder (BERT blocks with cross-attention) makes the model a captioner"});
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
             .unread = unless(kind == TextTowerKind::kTransformer, "only a transformer has it")});
    v.field("pooling", pooling,
            {.help = "bert: mean of the tokens, the first token (cls, ALIGN's), or the first through the "
                     "pooler's dense and tanh",
             .unread = unless(kind == TextTowerKind::kBert, "only bert has it")});
    v.field("positions", positions,
            {.help = "bert, decoder: position embeddings",
             .least = 4,
             .most = 4096,
             .unread = unless(kind != TextTowerKind::kTransformer, "a transformer has as many as context")});
    v.field("projection", projection,
            {.help = "into the shared space: x P (matrix), x W^T + b (linear), or none, when the tower is as "
                     "wide as embed_dim; empty: matrix for transformer, linear for bert"});
    v.field("gradient_checkpointing", gradient_checkpointing,
            {.help = "keep the input of each block only and compute it again for its gradient"});
    v.field(
        "extra_tokens", extra_tokens,
        {.help = "decoder: ids behind the tokenizer's vocabulary, the first starts a caption (BLIP: 2); 0: "
                 "the tokenizer's start mark does",
         .least = 0,
         .most = 1024});
    v.field("tied_head", tied_head, {.help = "decoder: the output layer is the word embeddings"});
    visit_variants(v);
  }

 private:
  // What other families than CLIP have.
  template <class Visitor>
  void visit_variants(Visitor& v) {
    v.field(
        "readout", readout,
        {.help = "transformer: the position that is read: the first end mark (end, also when empty), the "
                 "largest id (largest), first, last of the whole context, or a class token behind it (class, "
                 "CoCa's)",
         .quiet = true,
         .unread = unless(kind == TextTowerKind::kTransformer, "only a transformer has it")});
    v.field("end_token", end_token,
            {.help = "transformer: id of the end mark; null: the tokenizer's",
             .least = 0,
             .most = 4194304,
             .quiet = true,
             .unread = unless(kind == TextTowerKind::kTransformer, "only a transformer has it")});
    v.field("bidirectional", bidirectional,
            {.help = "transformer: no causal mask",
             .quiet = true,
             .unread = unless(kind == TextTowerKind::kTransformer, "only a transformer has it")});
    v.field("layer_scale", layer_scale,
            {.help = "transformer: a trained factor per channel of each residual branch",
             .quiet = true,
             .unread = unless(kind == TextTowerKind::kTransformer, "only a transformer has it")});
    v.field("activation", activation,
            {.help = "transformer: gelu_tanh is GELU by its tanh formula; empty: as quick_gelu says",
             .quiet = true,
             .unread = unless(kind == TextTowerKind::kTransformer, "only a transformer has it")});
    v.field("mlp_width", mlp_width,
            {.help = "transformer: width inside the blocks' MLPs; null: 4 width",
             .least = 8,
             .most = 65536,
             .quiet = true,
             .unread = unless(kind == TextTowerKind::kTransformer, "only a transformer has it")});
    v.field("layer_norm_epsilon", layer_norm_epsilon,
            {.help = "transformer: added to the variance; null: 1e-5",
             .least = 1e-12,
             .most = 0.1,
             .quiet = true,
             .unread = unless(kind == TextTowerKind::kTransformer, "only a transformer has it")});
    v.field("prompt", prompt,
            {.help = "decoder: what every caption starts with, not learnt and not written (BLIP: \"a picture "
                     "of \")",
             .most = 512});
  }
};

// The weights between two checkpoints of one architecture: (1 - share) init_from + share with (WiSE-FT;
// Wortsman et al., 2022). The temperature is mixed alike.
struct BlendSpec {
  std::string with;
  double share = 0.5;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("with", with, {.help = "the other checkpoint, as init_from", .least = 1, .required = true});
    v.field("share", share, {.help = "its share: 0 is init_from alone, 1 the other", .least = 0, .most = 1});
  }
};

struct ModelSpec {
  ImageTowerSpec image;
  TextTowerSpec text;
  std::int64_t embed_dim = 512;
  double logit_scale_init = 2.6592600369327779;  // ln(1/0.07)
  double logit_scale_min = 0;                    // clamps after every update
  double logit_scale_max = 4.6051701859880914;   // ln 100
  std::string init_from;                         // a whole checkpoint, both towers: file or folder, or
                                                 // "stage:<name>" of a train stage
  std::optional<BlendSpec> blend;
  std::vector<std::string> freeze;  // patterns of parameter names; "!pattern" takes back

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("image", image, {.help = "image tower", .required = true});
    v.field("text", text, {.help = "text tower", .required = true});
    v.field("embed_dim", embed_dim, {.help = "width of the shared space", .least = 2, .most = 8192});
    v.field("logit_scale_init", logit_scale_init,
            {.help = "ln(1/temperature) at the start",
             .least = -5,
             .most = 10,
             .unread = unless(text.kind != TextTowerKind::kDecoder, "a captioner has no shared space")});
    v.field("logit_scale_min", logit_scale_min,
            {.help = "lower clamp of ln(1/temperature)",
             .least = -5,
             .most = 10,
             .unread = unless(text.kind != TextTowerKind::kDecoder, "a captioner has no shared space")});
    v.field("logit_scale_max", logit_scale_max,
            {.help = "upper clamp of ln(1/temperature)",
             .least = 0,
             .most = 10,
             .unread = unless(text.kind != TextTowerKind::kDecoder, "a captioner has no shared space")});
    v.field("init_from", init_from,
            {.help = "checkpoint of both towers to start from: a safetensors file or a folder, of open_clip, "
                     "OpenAI CLIP, transformers or Trireme, or stage:<name> of a train stage"});
    v.field("blend", blend,
            {.help = "weights on the line from init_from to another checkpoint (WiSE-FT)", .quiet = true});
    v.field("freeze", freeze,
            {.help = "parameters that are not trained, by name: * stands for any characters, a leading ! "
                     "trains again what an earlier pattern froze; a batch norm with frozen scale keeps its "
                     "statistics"});
  }
};

}  // namespace trireme::jobs
