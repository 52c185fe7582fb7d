// BERT's WordPiece, cased or uncased (METHODS 5.2), equal to Hugging Face's tokenizers: the words of
// bert_words.h, each by greedy longest match; [UNK] for words without a match or longer than 100 characters;
// [CLS] … [SEP]. Marks spelled out in a caption ("[SEP]") stand for themselves, as there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "worker/text/tokenizers/bert_words.h"
#include "worker/text/tokenizers/piece_table.h"
#include "worker/text/tokenizers/tokenizer.h"

namespace trireme::worker::text {

class WordPiece final : public Tokenizer {
 public:
  // `vocab_path`: one piece per line, id = line counted from 0; [PAD], [UNK], [CLS] and [SEP] among them.
  // An empty line is a hole and refused: it would mean that the ids behind it have moved.
  WordPiece(const std::string& vocab_path, const BertRules& rules);

  Tokens encode(std::string_view caption_utf8, std::int64_t context) const override;
  std::string decode(std::span<const std::int64_t> ids) const override;
  std::int64_t vocabulary_size() const override { return static_cast<std::int64_t>(pieces_.size()); }
  std::int64_t pad_id() const override { return pad_; }
  std::int64_t end_id() const override { return sep_; }

 private:
  void read_pieces(const std::string& vocab_path);
  void append_text(std::string_view text, std::size_t most, std::vector<std::int64_t>& ids) const;
  void append_word(std::string_view word, std::int64_t characters, std::vector<std::int64_t>& ids) const;

  BertRules rules_;
  std::vector<std::string> pieces_;
  PieceTable starts_, continuations_;  // continuations without their "##"
  struct Mark {
    std::string text;
    std::int64_t id;
  };
  std::vector<Mark> marks_;
  std::int64_t pad_ = 0, unknown_ = 0, cls_ = 0, sep_ = 0;
};

}  // namespace trireme::worker::text
