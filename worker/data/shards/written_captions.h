// The file of captions that a caption task leaves for one range of samples (Captions in
// jobs/protocol/FORMAT.md), and those of one shard as training reads them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/io/file.h"
#include "worker/data/shards/shard_reader.h"

namespace trireme::worker::data {

struct WrittenCaption {
  std::int64_t sample = 0;  // position in the shard
  std::string key, text;    // text: "" when the captioner wrote nothing, or `fault`
  double log_probability = 0;
  std::int64_t tokens = 0;  // behind start and prompt
  bool ended = true;        // false: cut at the longest length
  std::string fault;        // why the picture has no caption (a reason of image.h), "" when it has
};

struct WrittenCaptions {
  std::string shard_sha256;
  std::int64_t first = 0, count = 0;     // the range; samples that a filter dropped have no line
  std::string model, decoding;           // fingerprint; settings as JSON
  std::vector<WrittenCaption> captions;  // ascending
};

// The same bytes for equal captions.
void write_captions_file(const io::Path& path, const WrittenCaptions& captions);

// Throws kDamaged naming file and line: wrong format or version, a sample out of order or of range.
WrittenCaptions read_captions_file(const io::Path& path);

// Captions of one shard by sample. Thread-safe after construction.
class ShardCaptions {
 public:
  struct Shard {
    std::string path, sha256, stage;  // stage: that wrote the captions, for messages
  };
  // `files`: one per range, any order. Every sample of `kept` must have a line that bears its key, in a file
  // made from this shard: kInvalid says of which shard, how many lines are missing or of other samples, and
  // the first key.
  ShardCaptions(const std::vector<std::string>& files, const Shard& shard, const ShardReader& reader,
                const std::vector<std::int32_t>& kept);

  // "" where the picture was bad or the captioner wrote nothing.
  const std::string& caption(std::int64_t sample) const { return texts_[static_cast<std::size_t>(sample)]; }

 private:
  std::vector<std::string> texts_;
};

}  // namespace trireme::worker::data
