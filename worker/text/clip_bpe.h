// CLIP's byte-level BPE (METHODS 5.1), equal to open_clip's tokenizer but for ftfy's repairs of broken
// encodings: html unescape twice, space collapsed, lower case; split into contractions, runs of letters,
// single digits and runs of the rest; bytes merged by rank; start and end mark.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "worker/text/piece_table.h"
#include "worker/text/tokenizer.h"

namespace trireme::worker::text {

class ClipBpe final : public Tokenizer {
 public:
  // `merges_path`: bpe_simple_vocab_16e6.txt, .gz or not; a header line, then one merge per line, of which
  // the first 48,894 count. Throws kNotFound / kInvalid naming file and line.
  explicit ClipBpe(const std::string& merges_path);

  Tokens encode(std::string_view caption_utf8, std::int64_t context) const override;
  std::int64_t vocabulary_size() const override { return end_id_ + 1; }
  std::int64_t pad_id() const override { return 0; }
  std::int64_t end_id() const override { return end_id_; }

 private:
  // Bytes of every token that ends a word, by token id; others empty.
  std::vector<std::string> read_merges(const std::string& path);
  void add_merge(std::int32_t left, std::int32_t right, std::int32_t id);
  void remember_whole_words(const std::vector<std::string>& words);
  void append_piece(std::string_view piece, std::vector<std::int64_t>& ids) const;
  void merge_piece(std::string_view piece, std::vector<std::int32_t>& symbols) const;
  std::int32_t merged(std::int32_t left, std::int32_t right) const;

  struct Merge {
    std::uint64_t pair = 0;
    std::int32_t id = -1;
  };
  std::vector<Merge> merges_;  // open addressing; a lower id is an earlier merge
  std::size_t merge_mask_ = 0;
  PieceTable whole_words_;  // pieces that end as one token
  std::int64_t end_id_ = 0;
};

}  // namespace trireme::worker::text
