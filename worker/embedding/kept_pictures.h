// Pictures of a range as an image tower in evaluation sees them, before they are normalised: what an embed
// task without a model leaves, so that no second model of the same geometry decodes them again. A safetensors
// file: `sample` int64 [n] (positions in the shard, ascending), `pixels` uint8 [n, px, px, 3], `bad` int64
// [m]; metadata format, geometry (jobs::geometry_text), and `faults`, a word for each of `bad`, between
// blanks.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "jobs/specification/shared_pictures.h"
#include "worker/checkpoint/safetensors.h"
#include "worker/data/batches/image_batch.h"

namespace trireme::worker::embedding {

struct DecodedPictures {
  std::vector<std::int64_t> sample;
  at::Tensor pixels;  // uint8 [n, px, px, 3]
  std::vector<std::pair<std::int64_t, std::string>> faults;
};

// Of one shard's samples. Thread-safe.
DecodedPictures decoded_pictures(const data::ShardReader& shard, const std::vector<std::int64_t>& samples,
                                 const jobs::ImagePreprocess& preprocess);
// Of the parts one after another. Throws as write_safetensors().
void write_pictures(const io::Path& path, const std::vector<DecodedPictures>& parts,
                    const jobs::ImagePreprocess& preprocess);

bool is_kept_pictures(const checkpoint::SafetensorsFile& file);

// Read-only, mapped; thread-safe.
class KeptPictures {
 public:
  // Of files of one shard, those that hold pictures. Throws kDamaged naming a file with what does not fit.
  KeptPictures(const std::vector<std::string>& paths, const jobs::ImagePreprocess& preprocess);

  // Whether there is a file, and all have this geometry; else none of them is looked into.
  bool usable() const { return usable_; }
  // The samples as data::evaluation_batch() gives them, bit for bit. kInternal for one that is not there.
  data::ImageBatch batch(const std::vector<std::int64_t>& samples) const;

 private:
  jobs::ImagePreprocess preprocess_;
  std::vector<checkpoint::SafetensorsFile> files_;
  std::unordered_map<std::int64_t, const std::uint8_t*> pixels_;
  std::unordered_map<std::int64_t, std::string> faults_;
  bool usable_ = false;
};

}  // namespace trireme::worker::embedding
