#include "worker/text/tokenizers/bert_words.h"

#include "worker/text/character_table.h"
#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

// Everything before the split, for captions that are not ASCII.
std::string normalize(std::string_view caption, const BertRules& rules, const CharacterTable& table) {
  std::string kept;
  kept.reserve(caption.size() + 8);
  for (std::size_t at = 0; at < caption.size();) {
    const std::int32_t c = next_code_point(caption, at);
    const std::uint8_t flags = table[c];
    if (flags & kBertControl) continue;
    const bool apart = rules.split_ideographs && (flags & kBertIdeograph) != 0;
    if (apart) kept += ' ';
    append_code_point(kept, c);
    if (apart) kept += ' ';
  }
  if (!rules.strip_accents && !rules.lower_case) return kept;
  const std::string split = rules.strip_accents ? nfd(kept) : kept;
  std::string bare;
  bare.reserve(split.size());
  for (std::size_t at = 0; at < split.size();) {
    const std::int32_t c = next_code_point(split, at);
    if (rules.strip_accents && (table[c] & kBertMark)) continue;
    if (rules.lower_case)
      append_lower_case(bare, c);
    else
      append_code_point(bare, c);
  }
  return bare;
}

class WordEnds {
 public:
  explicit WordEnds(BertWords& out) : out_(out) {}
  void character(std::size_t begin) {
    if (word_.characters++ == 0) word_.begin = begin;
  }
  void end(std::size_t at) {
    if (word_.characters == 0) return;
    word_.length = at - word_.begin;
    out_.words.push_back(word_);
    word_ = {};
  }

 private:
  BertWords& out_;
  BertWords::Word word_;
};

void split_ascii(std::string_view caption, bool lower, const CharacterTable& table, BertWords& out) {
  WordEnds ends(out);
  std::string& text = out.text;
  for (const char c : caption) {
    const std::uint8_t flags = table[c];
    if (flags & kBertControl) continue;
    const std::size_t at = text.size();
    text += lower && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    if (flags & (kSpace | kBertPunctuation)) ends.end(at);
    if (flags & kSpace) continue;
    ends.character(at);
    if (flags & kBertPunctuation) ends.end(at + 1);
  }
  ends.end(text.size());
}

}  // namespace

void split_bert_words(std::string_view caption_utf8, const BertRules& rules, BertWords& out) {
  out.text.clear();
  out.words.clear();
  const CharacterTable& table = CharacterTable::get();
  if (is_ascii(caption_utf8)) {
    split_ascii(caption_utf8, rules.lower_case, table, out);
    return;
  }
  out.text = normalize(caption_utf8, rules, table);
  WordEnds ends(out);
  for (std::size_t next = 0; next < out.text.size();) {
    const std::size_t at = next;
    const std::uint8_t flags = table[next_code_point(out.text, next)];
    if (flags & (kSpace | kBertPunctuation)) ends.end(at);
    if (flags & kSpace) continue;
    ends.character(at);
    if (flags & kBertPunctuation) ends.end(next);
  }
  ends.end(out.text.size());
}

}  // namespace trireme::worker::text
