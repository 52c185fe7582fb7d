// Random access to the samples of one shard through its index (.idx, made once by inspect; INDEX.md has the
// format). Reads img2dataset / WebDataset tars (pictures + txt + json), CLIP_benchmark tars (.cls, multi-line
// .txt), tables (.csv/.tsv/.jsonl of image paths and captions, paths relative to the table) and folders of
// pictures (docs/data-formats.md). Tars are never extracted; member names never become file names.
// Thread-safe after construction.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/byte_source.h"
#include "jobs/specification/data_spec.h"

namespace trireme::worker::data {

// What a scan found. A sample is usable when it has an image member and a caption or a label; order is that
// of the file.
struct ShardScan {
  std::string sha256;
  std::int64_t samples = 0, captions = 0;
  bool labels = false;
  std::map<std::string, std::int64_t> bad;  // samples that cannot be used: "no_image", "unsupported_image",
                                            // "no_caption", "bad_text", "duplicate_key", "truncated" …
  // Of samples that are kept: captions cut ("long_caption") or left out ("bad_text"), labels left out.
  std::map<std::string, std::int64_t> noted;
  std::vector<std::string> examples;  // the first of `bad`, "<key or place>: <reason>", at most kExamples
  // Where everything went ("members.kept", "members.bad", "members.other", "members.hidden" of "members";
  // "rows…" of tables), and what the source looks like: "texts", "texts.lines" (of several lines), "joined",
  // "last_dot", "label.largest".
  std::map<std::string, std::int64_t> seen;
  std::string reading;  // "", or what tells this index from the one that version 1 made of the same bytes
  std::string advice;   // what is known of the causes of `bad`, and the way on
  static constexpr std::size_t kExamples = 5;

  void blame(const std::string& what, const std::string& reason);
};

// Scans the shard once, front to back, and writes its index at `index_path`. Damage is counted, not thrown;
// kNotFound and kDamaged ("not a tar", empty file) name the file, kInternal what does not add up. `format`:
// decided, neither unset nor auto; class_folders: the shard is one class' folder. `poll` is called many times
// a second and may throw, to cancel the scan; nothing is written then.
ShardScan build_shard_index(const io::Path& shard, jobs::DataFormat format, const jobs::SourceSpec& source,
                            const io::Path& index_path, const std::function<void()>& poll = {});
// The same over bytes that lie elsewhere; no folder.
ShardScan build_shard_index(const io::ByteSource& bytes, const io::Path& shard, jobs::DataFormat format,
                            const jobs::SourceSpec& source, const io::Path& index_path,
                            const std::function<void()>& poll = {});

class ShardReader {
 public:
  // Throws kDamaged when the index is damaged or belongs to another file (size differs).
  ShardReader(const io::Path& shard, const io::Path& index);
  // The same over bytes that lie elsewhere. Tables' pictures are files beside `shard`.
  ShardReader(std::unique_ptr<io::ByteSource> bytes, const io::Path& shard, const io::Path& index);
  ~ShardReader();

  std::int64_t size() const;
  std::string key(std::int64_t sample) const;
  // What the source says of its pictures (SourceSpec): turned by their EXIF orientation, brought to sRGB.
  bool exif_orientation() const;
  bool icc_to_srgb() const;
  // The encoded image. Valid while the reader lives (mapped), or backed by `storage`.
  std::string_view image_bytes(std::int64_t sample, std::string& storage) const;
  // Lines of .txt (CLIP_benchmark) or the whole of it (img2dataset); valid UTF-8, trimmed, cut at 64 KiB.
  // Empty for labelled samples.
  std::vector<std::string> captions(std::int64_t sample) const;
  std::optional<std::int64_t> label(std::int64_t sample) const;
  std::string json(std::int64_t sample) const;      // "" when absent
  std::string raw_text(std::int64_t sample) const;  // the .txt as it is; "" for tables and when absent

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Captions used for training or embedding: captions(), or `templates` filled with the class name for a
// labelled sample. Throws kInvalid for a label beyond the classes.
std::vector<std::string> captions_of(const ShardReader& reader, std::int64_t sample,
                                     const std::vector<std::string>& classes,
                                     const std::vector<std::string>& templates);

}  // namespace trireme::worker::data
