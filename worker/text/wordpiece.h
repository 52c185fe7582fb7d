// BERT's uncased WordPiece (METHODS 5.2), equal to Hugging Face's BertTokenizer: control characters dropped,
// CJK ideographs on their own, accents stripped, lower case, punctuation on its own, then greedy longest
// match; [UNK] for words without a match or longer than 100 characters; [CLS] … [SEP].
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "worker/text/piece_table.h"
#include "worker/text/tokenizer.h"

namespace trireme::worker::text {

class WordPiece final : public Tokenizer {
 public:
  // `vocab_path`: one piece per line, id = line counted from 0; [PAD], [UNK], [CLS] and [SEP] among them.
  explicit WordPiece(const std::string& vocab_path);

  Tokens encode(std::string_view caption_utf8, std::int64_t context) const override;
  std::int64_t vocabulary_size() const override { return size_; }
  std::int64_t pad_id() const override { return pad_; }
  std::int64_t end_id() const override { return sep_; }

 private:
  void append_word(std::string_view word, std::int64_t characters, std::vector<std::int64_t>& ids) const;

  PieceTable starts_, continuations_;  // continuations without their "##"
  std::int64_t size_ = 0, pad_ = 0, unknown_ = 0, cls_ = 0, sep_ = 0;
};

}  // namespace trireme::worker::text
