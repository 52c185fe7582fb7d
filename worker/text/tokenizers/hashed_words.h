// A tokenizer without a vocabulary: words hashed into buckets, for training from scratch on small data. The
// caption is normalised (NFC), lower-cased and split into runs of letters, marks and digits, and single other
// characters that are not space. id = 3 + xxh3(word) mod (buckets - 3); 0 pads, 1 starts, 2 ends.
#pragma once

#include <cstdint>
#include <string_view>

#include "worker/text/tokenizers/tokenizer.h"

namespace trireme::worker::text {

class HashedWords final : public Tokenizer {
 public:
  explicit HashedWords(std::int64_t buckets);  // >= 16, kInvalid otherwise

  Tokens encode(std::string_view caption_utf8, std::int64_t context) const override;
  std::string decode(std::span<const std::int64_t> ids) const override;
  std::int64_t vocabulary_size() const override { return buckets_; }
  std::int64_t pad_id() const override { return 0; }
  std::int64_t end_id() const override { return 2; }

 private:
  std::int64_t buckets_;
};

}  // namespace trireme::worker::text
