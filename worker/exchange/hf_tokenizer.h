// Our tokenizers as transformers' files.
#pragma once

#include "common/io/file.h"
#include "worker/models/dual_encoder.h"

namespace trireme::worker::exchange {

// vocab.json, merges.txt and tokenizer_config.json of a CLIPTokenizer. Throws kInvalid for other tokenizers.
void write_clip_tokenizer(const models::DualEncoder& model, const io::Path& folder);
// vocab.txt and tokenizer_config.json of a BertTokenizer.
// `pads`: for transformers' AlignProcessor, which pads and cuts at `max_length`, of itself at 64.
void write_wordpiece_tokenizer(const models::DualEncoder& model, const io::Path& folder, bool pads = false);

// The .model file and tokenizer_config.json of a T5Tokenizer, SiglipTokenizer or XLMRobertaTokenizer.
void write_sentencepiece_tokenizer(const models::DualEncoder& model, const io::Path& folder);

}  // namespace trireme::worker::exchange
