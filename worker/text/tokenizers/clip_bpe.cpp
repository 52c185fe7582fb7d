#include "worker/text/tokenizers/clip_bpe.h"

#include <algorithm>
#include <array>

#include "common/base/error.h"
#include "worker/text/character_table.h"
#include "worker/text/html_entities.h"
#include "worker/text/repair_text.h"
#include "worker/text/tokenizers/vocabulary_file.h"
#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

constexpr std::size_t kMostMerges = 49152 - 256 - 2;
constexpr std::size_t kLongestPiece = 2048;  // longer runs are cut, so that no caption takes quadratic time
constexpr std::string_view kStartText = "<start_of_text>", kEndText = "<end_of_text>";

// GPT-2's order of bytes: printable ones first. Position = token id; the character that stands for a byte in
// a merges file is the byte itself (printable) or 256 + its place among the others.
struct ByteTable {
  std::array<std::int32_t, 256> id_of_byte{};
  std::array<std::int32_t, 512> byte_of_character{};
};

ByteTable make_byte_table() {
  ByteTable table;
  table.byte_of_character.fill(-1);
  const auto printable = [](int b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  std::int32_t id = 0, other = 256;
  for (int b = 0; b < 256; ++b)
    if (printable(b)) {
      table.id_of_byte[static_cast<std::size_t>(b)] = id++;
      table.byte_of_character[static_cast<std::size_t>(b)] = b;
    }
  for (int b = 0; b < 256; ++b)
    if (!printable(b)) {
      table.id_of_byte[static_cast<std::size_t>(b)] = id++;
      table.byte_of_character[static_cast<std::size_t>(other++)] = b;
    }
  return table;
}

const ByteTable& byte_table() {
  static const ByteTable table = make_byte_table();
  return table;
}

bool ends_word(const std::string& spelled) {
  return spelled.size() >= 4 && spelled.compare(spelled.size() - 4, 4, "</w>") == 0;
}

constexpr std::string_view kLongS = "\xc5\xbf";  // an s where case is ignored

// Length of 's 't 're 've 'm 'll 'd at `at`, or 0.
std::size_t contraction(std::string_view text, std::size_t at) {
  const std::string_view rest = text.substr(at + 1, 2);
  if (rest.empty()) return 0;
  const auto is = [&](char lower) { return rest[0] == lower || rest[0] == lower - 32; };
  if (is('s') || is('t') || is('m') || is('d')) return 2;
  if (rest.size() < 2) return 0;
  const char second = static_cast<char>(rest[1] >= 'A' && rest[1] <= 'Z' ? rest[1] + 32 : rest[1]);
  if (((is('r') || is('v')) && second == 'e') || (is('l') && second == 'l')) return 3;
  return rest == kLongS ? 3 : 0;
}

// End of the piece that begins at `at`, which matches an alternative of the pattern.
std::size_t piece_end(std::string_view text, std::size_t at, const CharacterTable& table) {
  if (text[at] == '\'')
    if (const std::size_t length = contraction(text, at)) return at + length;
  constexpr std::uint8_t kOthers = kClipLetter | kClipNumber | kClipNothing | kSpace;
  std::size_t end = at;
  const std::uint8_t first = table[next_code_point(text, end)];
  if (first & kClipNumber) return end;
  const bool letters = (first & kClipLetter) != 0;
  while (end < text.size() && end - at < kLongestPiece) {
    std::size_t next = end;
    const std::uint8_t flags = table[next_code_point(text, next)];
    if (letters ? (flags & kClipLetter) == 0 : (flags & kOthers) != 0) break;
    end = next;
  }
  return end;
}

// Length of `mark` at `at` where case is ignored, or 0.
std::size_t spelled_mark(std::string_view text, std::size_t at, std::string_view mark) {
  std::size_t next = at;
  for (const char expected : mark) {
    if (next >= text.size()) return 0;
    const char c = text[next];
    if (c == expected || (expected >= 'a' && expected <= 'z' && c == expected - 32)) {
      ++next;
    } else if (expected == 's' && text.substr(next).starts_with(kLongS)) {
      next += kLongS.size();
    } else {
      return 0;
    }
  }
  return next - at;
}

}  // namespace

ClipBpe::ClipBpe(const std::string& merges_path, const ClipCleaning& cleaning) : cleaning_(cleaning) {
  read_merges(merges_path);
  remember_whole_words();
}

std::string ClipBpe::clean(std::string_view caption) const {
  std::string text = cleaning_.repair_text ? repair_text(caption) : std::string(caption);
  if (cleaning_.unescape_html && text.find('&') != std::string::npos)
    text = unescape_html(unescape_html(text));
  if (cleaning_.collapse_space) text = collapse_space(text);
  return cleaning_.lower_case ? lower_case(text) : text;
}

void ClipBpe::read_merges(const std::string& path) {
  const std::vector<std::string> lines = read_vocabulary_lines(path);
  const std::size_t count = std::min(lines.empty() ? 0 : lines.size() - 1, kMostMerges);
  if (count == 0) throw Error(ErrorKind::kInvalid, "merges file " + path + " holds no merges");
  PieceTable ids(512 + count);  // spelled as in the file
  tokens_.resize(512 + count);
  for (std::int32_t character = 0; character < 512; ++character) {
    const std::int32_t byte = byte_table().byte_of_character[static_cast<std::size_t>(character)];
    if (byte < 0) continue;
    std::string spelled;
    append_code_point(spelled, character);
    const std::int32_t id = byte_table().id_of_byte[static_cast<std::size_t>(byte)];
    ids.insert(spelled, id);
    ids.insert(spelled + "</w>", id + 256);
    const auto at = static_cast<std::size_t>(id);
    tokens_[at] = {std::string(1, static_cast<char>(byte)), false};
    tokens_[at + 256] = {tokens_[at].bytes, true};
  }
  std::size_t slots = 16;
  while (slots < 4 * count) slots *= 2;
  merges_.assign(slots, {});
  merge_mask_ = slots - 1;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string& line = lines[i + 1];
    const std::size_t blank = line.find(' ');
    const std::string left_text = line.substr(0, blank),
                      right_text = blank == std::string::npos ? "" : line.substr(blank + 1);
    const std::int32_t left = ids.find(left_text), right = ids.find(right_text);
    const auto id = static_cast<std::int32_t>(512 + i);
    if (left < 0 || right < 0 || !ids.insert(left_text + right_text, id))
      throw Error(
          ErrorKind::kInvalid,
          "merges file " + path + ", line " + std::to_string(i + 2) + ": not a merge of two earlier symbols",
          "use bpe_simple_vocab_16e6.txt.gz, or pretrained:clip");
    tokens_[512 + i] = {
        tokens_[static_cast<std::size_t>(left)].bytes + tokens_[static_cast<std::size_t>(right)].bytes,
        ends_word(right_text)};
    add_merge(left, right, id);
  }
  end_id_ = static_cast<std::int64_t>(512 + count) + 1;
}

void ClipBpe::add_merge(std::int32_t left, std::int32_t right, std::int32_t id) {
  const std::uint64_t pair = (static_cast<std::uint64_t>(left) << 32) | static_cast<std::uint32_t>(right);
  std::size_t place = (pair * 0x9e3779b97f4a7c15ULL) >> 32 & merge_mask_;
  while (merges_[place].id >= 0) place = (place + 1) & merge_mask_;
  merges_[place] = {pair, id};
}

void ClipBpe::remember_whole_words() {
  whole_words_ = PieceTable(tokens_.size());
  std::vector<std::int32_t> symbols;
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    if (!tokens_[id].ends_word) continue;
    merge_piece(tokens_[id].bytes, symbols);
    if (symbols.size() == 1 && symbols[0] == static_cast<std::int32_t>(id))
      whole_words_.insert(tokens_[id].bytes, static_cast<std::int32_t>(id));
  }
}

std::int32_t ClipBpe::merged(std::int32_t left, std::int32_t right) const {
  const std::uint64_t pair = (static_cast<std::uint64_t>(left) << 32) | static_cast<std::uint32_t>(right);
  std::size_t place = (pair * 0x9e3779b97f4a7c15ULL) >> 32 & merge_mask_;
  while (merges_[place].id >= 0 && merges_[place].pair != pair) place = (place + 1) & merge_mask_;
  return merges_[place].id;
}

void ClipBpe::merge_piece(std::string_view piece, std::vector<std::int32_t>& symbols) const {
  symbols.clear();
  for (const char c : piece) symbols.push_back(byte_table().id_of_byte[static_cast<unsigned char>(c)]);
  symbols.back() += 256;
  while (symbols.size() > 1) {
    std::int32_t best = -1, left = 0, right = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const std::int32_t id = merged(symbols[i], symbols[i + 1]);
      if (id < 0 || (best >= 0 && id >= best)) continue;
      best = id;
      left = symbols[i];
      right = symbols[i + 1];
    }
    if (best < 0) return;
    std::size_t out = 0;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      const bool joins = i + 1 < symbols.size() && symbols[i] == left && symbols[i + 1] == right;
      symbols[out++] = joins ? best : symbols[i];
      if (joins) ++i;
    }
    symbols.resize(out);
  }
}

void ClipBpe::append_piece(std::string_view piece, std::vector<std::int64_t>& ids) const {
  const std::int32_t whole = whole_words_.find(piece);
  if (whole >= 0) {
    ids.push_back(whole);
    return;
  }
  thread_local std::vector<std::int32_t> symbols;
  merge_piece(piece, symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

std::size_t ClipBpe::append_mark(std::string_view text, std::size_t at,
                                 std::vector<std::int64_t>& ids) const {
  for (const auto& [mark, id] : {std::pair{kStartText, end_id_ - 1}, std::pair{kEndText, end_id_}}) {
    const std::size_t length = spelled_mark(text, at, mark);
    if (length == 0) continue;
    if (text.substr(at, length) == mark)
      ids.push_back(id);
    else
      append_piece(text.substr(at, length), ids);  // found by the pattern, but no mark
    return at + length;
  }
  return at;
}

Tokens ClipBpe::encode(std::string_view caption_utf8, std::int64_t context) const {
  if (context < 2)
    throw Error(ErrorKind::kInvalid, "a context of " + std::to_string(context) + " tokens is too short");
  const auto most = static_cast<std::size_t>(context);
  const CharacterTable& table = CharacterTable::get();
  Tokens tokens;
  tokens.ids.reserve(32);
  tokens.ids.push_back(end_id_ - 1);
  const std::string text = clean(caption_utf8);
  for (std::size_t at = 0; at < text.size() && tokens.ids.size() < most;) {
    std::size_t next = at;
    if (table[next_code_point(text, next)] & (kSpace | kClipNothing)) {
      at = next;
      continue;
    }
    if (text[at] == '<') {
      next = append_mark(text, at, tokens.ids);
      if (next != at) {
        at = next;
        continue;
      }
    }
    const std::size_t end = piece_end(text, at, table);
    append_piece(std::string_view(text).substr(at, end - at), tokens.ids);
    at = end;
  }
  tokens.truncated = tokens.ids.size() + 1 > most;
  if (tokens.truncated) tokens.ids.resize(most - 1);
  tokens.ids.push_back(end_id_);
  return tokens;
}

std::string ClipBpe::decode(std::span<const std::int64_t> ids) const {
  static constexpr std::string_view kWordEnd = "</w>";
  std::string bytes, text;
  for (const std::int64_t id : ids) {
    if (id < 0 || id > end_id_)
      throw Error(ErrorKind::kInvalid, "token " + std::to_string(id) + " is not in a vocabulary of " +
                                           std::to_string(vocabulary_size()));
    if (id >= end_id_ - 1) continue;
    const Token& token = tokens_[static_cast<std::size_t>(id)];
    bytes += token.bytes;
    if (token.ends_word) bytes += kWordEnd;
  }
  for (std::size_t at = 0; at < bytes.size();) {
    if (std::string_view(bytes).substr(at).starts_with(kWordEnd)) {
      text += ' ';
      at += kWordEnd.size();
    } else {
      append_code_point(text, next_code_point(bytes, at));
    }
  }
  return text;
}

}  // namespace trireme::worker::text
