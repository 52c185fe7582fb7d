// CLIP's byte-level BPE (METHODS 5.1), equal to open_clip's tokenizer but for ftfy's repairs, of which
// repair_text.h has a part: html unescape twice, space collapsed, lower case; split into contractions, runs
// of letters, single digits and runs of the rest; bytes merged by rank; start and end mark. Runs beyond 2,048
// bytes are cut there, so that no caption takes quadratic time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "worker/text/tokenizers/piece_table.h"
#include "worker/text/tokenizers/tokenizer.h"

namespace trireme::worker::text {

struct ClipCleaning {
  bool unescape_html = true;  // twice
  bool collapse_space = true;
  bool lower_case = true;
  bool repair_text = false;  // first of all, as repair_text.h
};

class ClipBpe final : public Tokenizer {
 public:
  // `merges_path`: bpe_simple_vocab_16e6.txt, .gz or not; a header line, then one merge per line, of which
  // the first 48,894 count. Throws kNotFound / kInvalid naming file and line.
  ClipBpe(const std::string& merges_path, const ClipCleaning& cleaning);

  Tokens encode(std::string_view caption_utf8, std::int64_t context) const override;
  std::string decode(std::span<const std::int64_t> ids) const override;
  std::int64_t vocabulary_size() const override { return end_id_ + 1; }
  std::int64_t pad_id() const override { return 0; }
  std::int64_t end_id() const override { return end_id_; }

 private:
  void read_merges(const std::string& path);
  void add_merge(std::int32_t left, std::int32_t right, std::int32_t id);
  void remember_whole_words();
  std::string clean(std::string_view caption) const;
  // End of a mark spelled out at `at`, or `at`; appends its ids.
  std::size_t append_mark(std::string_view text, std::size_t at, std::vector<std::int64_t>& ids) const;
  void append_piece(std::string_view piece, std::vector<std::int64_t>& ids) const;
  void merge_piece(std::string_view piece, std::vector<std::int32_t>& symbols) const;
  std::int32_t merged(std::int32_t left, std::int32_t right) const;

  struct Merge {
    std::uint64_t pair = 0;
    std::int32_t id = -1;
  };
  struct Token {
    std::string bytes;
    bool ends_word = false;
  };
  ClipCleaning cleaning_;
  std::vector<Token> tokens_;  // by id, marks excluded
  std::vector<Merge> merges_;  // open addressing; a lower id is an earlier merge
  std::size_t merge_mask_ = 0;
  PieceTable whole_words_;  // pieces that end as one token
  std::int64_t end_id_ = 0;
};

}  // namespace trireme::worker::text
