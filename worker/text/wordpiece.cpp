#include "worker/text/wordpiece.h"

#include <algorithm>

#include "common/base/error.h"
#include "worker/text/unicode.h"
#include "worker/text/vocabulary_file.h"

namespace trireme::worker::text {
namespace {

constexpr std::int64_t kMostCharacters = 100;

bool is_cjk(std::int32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B820 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_control(std::int32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return c == 0xFFFD || (c >= 0x1c && c <= 0x1f) || c == 0x0b || c == 0x0c || c == 0x85 ||
         classify(c) == CharClass::kControl;
}

// Everything before the split into words: accents and control characters gone, lower case.
std::string normalize(std::string_view caption) {
  if (is_ascii(caption)) return lower_case(caption);
  std::string kept;
  kept.reserve(caption.size() + 8);
  for (std::size_t at = 0; at < caption.size();) {
    const std::int32_t c = next_code_point(caption, at);
    if (is_control(c)) continue;
    if (is_cjk(c)) kept += ' ';
    append_code_point(kept, c);
    if (is_cjk(c)) kept += ' ';
  }
  const std::string split = nfd(kept);
  std::string bare;
  bare.reserve(split.size());
  for (std::size_t at = 0; at < split.size();) {
    const std::int32_t c = next_code_point(split, at);
    if (classify(c) != CharClass::kMark) append_code_point(bare, c);
  }
  return lower_case(bare);
}

}  // namespace

WordPiece::WordPiece(const std::string& vocab_path) {
  const std::vector<std::string> lines = read_vocabulary_lines(vocab_path);
  size_ = static_cast<std::int64_t>(lines.size());
  starts_ = PieceTable(lines.size());
  continuations_ = PieceTable(lines.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const bool continues = lines[i].size() > 2 && lines[i].compare(0, 2, "##") == 0;
    const bool fresh =
        continues ? continuations_.insert(std::string_view(lines[i]).substr(2), static_cast<std::int32_t>(i))
                  : starts_.insert(lines[i], static_cast<std::int32_t>(i));
    if (!fresh)
      throw Error(ErrorKind::kInvalid, "vocabulary " + vocab_path + ", line " + std::to_string(i + 1) +
                                           ": '" + lines[i] + "' occurs twice");
  }
  const auto special = [&](const char* piece) {
    const std::int32_t id = starts_.find(piece);
    if (id < 0)
      throw Error(ErrorKind::kInvalid, "vocabulary " + vocab_path + " has no line " + piece,
                  "use a BERT vocab.txt, or pretrained:minilm");
    return id;
  };
  pad_ = special("[PAD]");
  unknown_ = special("[UNK]");
  cls_ = special("[CLS]");
  sep_ = special("[SEP]");
}

void WordPiece::append_word(std::string_view word, std::int64_t characters,
                            std::vector<std::int64_t>& ids) const {
  if (characters > kMostCharacters) {
    ids.push_back(unknown_);
    return;
  }
  const std::size_t before = ids.size();
  for (std::size_t at = 0; at < word.size();) {
    const PieceTable& table = at == 0 ? starts_ : continuations_;
    std::size_t length = std::min(word.size() - at, table.longest());
    std::int32_t id = -1;
    while (length > 0 && (id = table.find(word.substr(at, length))) < 0) --length;
    if (id < 0) {
      ids.resize(before);
      ids.push_back(unknown_);
      return;
    }
    ids.push_back(id);
    at += length;
  }
}

Tokens WordPiece::encode(std::string_view caption_utf8, std::int64_t context) const {
  if (context < 2)
    throw Error(ErrorKind::kInvalid, "a context of " + std::to_string(context) + " tokens is too short");
  const auto most = static_cast<std::size_t>(context);
  Tokens tokens;
  tokens.ids.reserve(32);
  tokens.ids.push_back(cls_);
  std::string text = normalize(caption_utf8);
  std::size_t begin = 0, end = 0;  // of the word being read, compacted in place over control characters
  std::int64_t characters = 0;
  const auto finish_word = [&](std::size_t next) {
    if (end > begin) append_word(std::string_view(text).substr(begin, end - begin), characters, tokens.ids);
    begin = end = next;
    characters = 0;
  };
  for (std::size_t at = 0; at < text.size() && tokens.ids.size() < most;) {
    const std::size_t start = at;
    const std::int32_t c = next_code_point(text, at);
    if (is_control(c)) {
      if (end == begin) begin = end = at;
      continue;
    }
    const CharClass kind = classify(c);
    if (kind == CharClass::kSpace) {
      finish_word(at);
    } else if (kind == CharClass::kPunctuation) {
      finish_word(start);
      if (tokens.ids.size() < most)
        append_word(std::string_view(text).substr(start, at - start), 1, tokens.ids);
      begin = end = at;
    } else {
      for (std::size_t i = start; i < at; ++i) text[end++] = text[i];
      ++characters;
    }
  }
  if (tokens.ids.size() < most) finish_word(text.size());
  tokens.truncated = tokens.ids.size() + 1 > most;
  if (tokens.truncated) tokens.ids.resize(most - 1);
  tokens.ids.push_back(sep_);
  return tokens;
}

}  // namespace trireme::worker::text
