#include "worker/text/tokenizers/wordpiece.h"

#include <algorithm>
#include <array>

#include "common/base/error.h"
#include "worker/text/tokenizers/vocabulary_file.h"

namespace trireme::worker::text {
namespace {

constexpr std::int64_t kMostCharacters = 100;
constexpr std::string_view kPrefix = "##";

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

// The blanks that the reference decoder takes away again, token by token.
void clean_up(std::string& token) {
  static constexpr std::array<std::array<std::string_view, 2>, 11> kRules{{{" .", "."},
                                                                           {" ?", "?"},
                                                                           {" !", "!"},
                                                                           {" ,", ","},
                                                                           {" ' ", "'"},
                                                                           {" n't", "n't"},
                                                                           {" 'm", "'m"},
                                                                           {" do not", " don't"},
                                                                           {" 's", "'s"},
                                                                           {" 've", "'ve"},
                                                                           {" 're", "'re"}}};
  for (const auto& [from, to] : kRules) replace_all(token, from, to);
}

}  // namespace

WordPiece::WordPiece(const std::string& vocab_path, const BertRules& rules) : rules_(rules) {
  read_pieces(vocab_path);
  const auto special = [&](const char* piece) {
    const std::int32_t id = starts_.find(piece);
    if (id < 0)
      throw Error(ErrorKind::kInvalid, "vocabulary " + vocab_path + " has no line " + piece,
                  "use a BERT vocab.txt, pretrained:minilm, or the result of a vocabulary stage");
    marks_.push_back({piece, id});
    return id;
  };
  pad_ = special("[PAD]");
  unknown_ = special("[UNK]");
  cls_ = special("[CLS]");
  sep_ = special("[SEP]");
  if (starts_.find("[MASK]") >= 0) special("[MASK]");
}

void WordPiece::read_pieces(const std::string& vocab_path) {
  pieces_ = read_vocabulary_lines(vocab_path);
  starts_ = PieceTable(pieces_.size());
  continuations_ = PieceTable(pieces_.size());
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const std::string& piece = pieces_[i];
    const auto refuse = [&](const std::string& what) {
      throw Error(ErrorKind::kInvalid,
                  "vocabulary " + vocab_path + ", line " + std::to_string(i + 1) + ": " + what,
                  "ids are line numbers: take the file as it was published, one piece per line");
    };
    if (piece.empty()) refuse("a hole, the line is empty");
    const auto id = static_cast<std::int32_t>(i);
    const bool continues = piece.size() > kPrefix.size() && piece.starts_with(kPrefix);
    const bool fresh = continues ? continuations_.insert(std::string_view(piece).substr(kPrefix.size()), id)
                                 : starts_.insert(piece, id);
    if (!fresh) refuse("'" + piece + "' occurs twice");
  }
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

void WordPiece::append_text(std::string_view text, std::size_t most, std::vector<std::int64_t>& ids) const {
  thread_local BertWords words;
  split_bert_words(text, rules_, words);
  for (std::size_t i = 0; i < words.words.size() && ids.size() < most; ++i)
    append_word(words[i], words.words[i].characters, ids);
}

Tokens WordPiece::encode(std::string_view caption_utf8, std::int64_t context) const {
  if (context < 2)
    throw Error(ErrorKind::kInvalid, "a context of " + std::to_string(context) + " tokens is too short");
  const auto most = static_cast<std::size_t>(context);
  Tokens tokens;
  tokens.ids.reserve(32);
  tokens.ids.push_back(cls_);
  std::size_t begin = 0;  // of the text not yet appended
  for (std::size_t at = 0; tokens.ids.size() < most;) {
    at = caption_utf8.find('[', at);
    if (at == std::string_view::npos) break;
    const auto mark = std::ranges::find_if(
        marks_, [&](const Mark& m) { return caption_utf8.substr(at).starts_with(m.text); });
    if (mark == marks_.end()) {
      ++at;
      continue;
    }
    append_text(caption_utf8.substr(begin, at - begin), most, tokens.ids);
    tokens.ids.push_back(mark->id);
    begin = at += mark->text.size();
  }
  if (tokens.ids.size() < most) append_text(caption_utf8.substr(begin), most, tokens.ids);
  tokens.truncated = tokens.ids.size() + 1 > most;
  if (tokens.truncated) tokens.ids.resize(most - 1);
  tokens.ids.push_back(sep_);
  return tokens;
}

std::string WordPiece::decode(std::span<const std::int64_t> ids) const {
  std::string text;
  bool first = true;
  for (const std::int64_t id : ids) {
    if (id < 0 || id >= vocabulary_size())
      throw Error(ErrorKind::kInvalid, "token " + std::to_string(id) + " is not in a vocabulary of " +
                                           std::to_string(vocabulary_size()));
    if (std::ranges::find(marks_, id, &Mark::id) != marks_.end()) continue;
    std::string token = pieces_[static_cast<std::size_t>(id)];
    if (!first && token.starts_with(kPrefix))
      token.erase(0, kPrefix.size());
    else if (!first)
      token.insert(0, 1, ' ');
    clean_up(token);
    text += token;
    first = false;
  }
  return text;
}

}  // namespace trireme::worker::text
