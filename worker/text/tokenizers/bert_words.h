// BERT's split of a caption into words (METHODS 5.2, steps 1-3), equal to Hugging Face's BertNormalizer and
// BertPreTokenizer: control characters dropped, ideographs set apart, accents stripped, lower case without
// regard to context; then white space split and every punctuation character a word of its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::worker::text {

struct BertRules {
  bool lower_case = true;
  bool strip_accents = true;     // NFD, then without Mn
  bool split_ideographs = true;  // CJK: every ideograph by itself
};

struct BertWords {
  struct Word {
    std::size_t begin = 0, length = 0;  // bytes of `text`
    std::int64_t characters = 0;
  };
  std::string text;
  std::vector<Word> words;
  std::string_view operator[](std::size_t index) const {
    return std::string_view(text).substr(words[index].begin, words[index].length);
  }
};

// Replaces what `out` held; its memory is used again. Ill-formed UTF-8 is dropped.
void split_bert_words(std::string_view caption_utf8, const BertRules& rules, BertWords& out);

}  // namespace trireme::worker::text
