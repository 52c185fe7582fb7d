// How the tensors of published checkpoints are called and laid out, beside how ours are (METHODS 4.1 to 4.3,
// 6.1). One rule per tensor of ours serves both ways: reading, and writing for export.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "worker/checkpoint/safetensors.h"

namespace trireme::worker::checkpoint {

enum class Layout {
  kTrireme,           // also OpenAI's CLIP and open_clip, whose text tower may be prefixed with "text."
  kHfClip,            // transformers CLIPModel
  kHfSiglip,          // transformers SiglipModel
  kOpenClipTimm,      // open_clip with a tower of timm: "visual.trunk.", "visual.head."
  kHfAlign,           // transformers AlignModel
  kHfBert,            // transformers BertModel, "bert." before or not; sentence-transformers
  kHfBlip,            // transformers BlipForConditionalGeneration: vision tower and caption decoder
  kTimmVit,           // timm VisionTransformer
  kTimmEfficientNet,  // timm EfficientNet and tf_efficientnet
  kEfficientNetLite,  // efficientnet_lite_pytorch and EfficientNet-PyTorch: our names without "visual."
};
const char* layout_name(Layout layout);  // "open_clip", "hf_clip", …

// From the names alone. Throws kInvalid when nothing is recognised, naming `path`.
Layout detect_layout(const std::vector<std::string>& names, const std::string& path);

// How one tensor of ours is made of theirs.
struct TensorRule {
  enum class Op {
    kSame,
    kTranspose,    // [a, b] <-> [b, a]
    kStack,        // rows of ours are the rows of theirs, one tensor after another
    kReshape,      // other shape, same order of elements (leading ones)
    kNegativeLog,  // ours = -ln theirs (logit_scale of a temperature)
  };
  std::vector<std::string> theirs;  // several only with kStack
  Op op = Op::kSame;
  std::string otherwise = {};  // a second name that a file may use instead
  // Other names that a file may use instead of `theirs`, stacked; two that fill a third each of ours (the
  // biases of queries and values) have zeros between them.
  std::vector<std::vector<std::string>> alternatives = {};
  bool zero_if_none = false;  // a bias that a tower has in every block or in none
};

class NameMap {
 public:
  // `repeats`: blocks per stage of an EfficientNet, for timm's names.
  explicit NameMap(Layout layout, std::vector<std::int64_t> repeats = {});

  // Nothing when the layout has no such tensor.
  std::optional<TensorRule> rule(const std::string& ours) const;
  // Tensors of theirs that no model of ours needs: other heads, poolers, buffers.
  bool ignored(const std::string& theirs) const;
  Layout layout() const { return layout_; }

 private:
  Layout layout_;
  std::vector<std::int64_t> repeats_;
};

// The first of `rule`'s spellings that the file has ("text." or "bert." or "module." before it); nothing when
// one is missing.
std::optional<std::vector<std::string>> find_theirs(const SafetensorsFile& file, const TensorRule& rule);

// Ours out of theirs (several are stacked); with kStack, kTranspose … undone shapes are the caller's to
// check.
at::Tensor read_rule(const SafetensorsFile& file, const std::vector<std::string>& theirs, TensorRule::Op op,
                     at::IntArrayRef ours);

// Theirs out of ours. Shapes with leading ones that only theirs has stay ours'.
std::vector<std::pair<std::string, at::Tensor>> write_rule(const TensorRule& rule, const at::Tensor& ours);

}  // namespace trireme::worker::checkpoint
