#include "worker/data/shards/shard_reader.h"

#include "common/base/error.h"
#include "common/io/folder.h"
#include "common/io/machine/in_hand.h"
#include "jobs/layouts/readable_json.h"
#include "jobs/specification/prompt_template.h"
#include "worker/data/shards/caption_text.h"
#include "worker/data/shards/shard_index.h"

namespace trireme::worker::data {
namespace {

constexpr std::uint64_t kImageLimitBytes = std::uint64_t{64} << 20;

// Folders have no bytes of their own.
std::unique_ptr<io::ByteSource> bytes_of(const io::Path& shard) {
  if (io::is_folder(shard)) return std::make_unique<io::MemorySource>(std::string_view(), shard.string());
  return io::open_source(shard);
}

}  // namespace

struct ShardReader::State {
  State(std::unique_ptr<io::ByteSource> source, const io::Path& shard, const io::Path& index_path)
      : bytes(std::move(source)),
        path(shard.string()),
        folder(io::is_folder(shard) ? shard : shard.parent_path()),
        index(decode_index(io::MappedFile(index_path).text(), index_path)) {}

  const IndexSample& at(std::int64_t sample) const {
    if (sample < 0 || sample >= static_cast<std::int64_t>(index.samples.size())) {
      throw Error(ErrorKind::kInternal, "sample " + std::to_string(sample) + " of " + bytes->name() +
                                            ", which has " + std::to_string(index.samples.size()));
    }
    return index.samples[static_cast<std::size_t>(sample)];
  }
  // As at(); from here on this thread has it in hand.
  const IndexSample& take(std::int64_t sample) const {
    const IndexSample& entry = at(sample);
    io::take_in_hand(path, index.pooled(entry.key));
    return entry;
  }
  std::string text(const IndexRange& range) const {
    std::string storage;
    return std::string(bytes->view(range.offset, range.size, storage));
  }

  std::unique_ptr<io::ByteSource> bytes;
  std::string path;
  io::Path folder;
  ShardIndex index;
};

ShardReader::ShardReader(const io::Path& shard, const io::Path& index)
    : ShardReader(bytes_of(shard), shard, index) {}

ShardReader::ShardReader(std::unique_ptr<io::ByteSource> bytes, const io::Path& shard, const io::Path& index)
    : state_(std::make_unique<State>(std::move(bytes), shard, index)) {
  if (state_->folder == shard && state_->index.kind == ShardKind::kFiles) return;
  if (state_->bytes->size() != state_->index.shard_bytes) {
    throw Error(ErrorKind::kDamaged,
                "shard " + shard.string() + " changed: " + std::to_string(state_->bytes->size()) +
                    " bytes, " + std::to_string(state_->index.shard_bytes) + " when it was inspected",
                "run the job again, so that it is inspected afresh");
  }
}

ShardReader::~ShardReader() = default;

std::int64_t ShardReader::size() const {
  return static_cast<std::int64_t>(state_->index.samples.size());
}

bool ShardReader::exif_orientation() const {
  return state_->index.exif_orientation;
}

bool ShardReader::icc_to_srgb() const {
  return state_->index.icc_to_srgb;
}

std::string ShardReader::key(std::int64_t sample) const {
  return std::string(state_->index.pooled(state_->at(sample).key));
}

std::string_view ShardReader::image_bytes(std::int64_t sample, std::string& storage) const {
  const IndexSample& entry = state_->take(sample);
  if (image_in_shard(state_->index.kind))
    return state_->bytes->view(entry.image.offset, entry.image.size, storage);
  storage.clear();
  try {
    const io::Path image(state_->index.pooled(entry.image));
    storage = io::read_file(state_->folder / image, kImageLimitBytes);
  } catch (
      const Error&) {  // gone since it was inspected: a bad sample ("empty_image"), not a fault of the job
  }
  return storage;
}

std::vector<std::string> ShardReader::captions(std::int64_t sample) const {
  const IndexSample& entry = state_->take(sample);
  if (!text_in_shard(state_->index.kind)) {
    std::vector<std::string> out;
    for (std::uint64_t i = 0; i < entry.text.size; ++i) {
      out.emplace_back(state_->index.pooled(state_->index.captions[entry.text.offset + i]));
    }
    return out;
  }
  std::string storage;
  const std::string_view raw = state_->bytes->view(entry.text.offset, entry.text.size, storage);
  const bool lines = state_->index.kind == ShardKind::kTarTextLines;
  return (lines ? read_caption_lines(raw) : read_caption(raw)).captions;
}

std::optional<std::int64_t> ShardReader::label(std::int64_t sample) const {
  const std::int64_t label = state_->at(sample).label;
  return label < 0 ? std::nullopt : std::optional(label);
}

std::string ShardReader::raw_text(std::int64_t sample) const {
  return text_in_shard(state_->index.kind) ? state_->text(state_->at(sample).text) : "";
}

std::string ShardReader::json(std::int64_t sample) const {
  const IndexRange& range = state_->take(sample).json;
  return jobs::readable_json(json_in_shard(state_->index.kind) ? state_->text(range)
                                                               : std::string(state_->index.pooled(range)));
}

std::vector<std::string> captions_of(const ShardReader& reader, std::int64_t sample,
                                     const std::vector<std::string>& classes,
                                     const std::vector<std::string>& templates) {
  std::vector<std::string> captions = reader.captions(sample);
  const auto label = reader.label(sample);
  if (!captions.empty() || !label || classes.empty()) return captions;
  if (*label >= static_cast<std::int64_t>(classes.size()))
    throw Error(ErrorKind::kInvalid,
                "sample " + reader.key(sample) + " has label " + std::to_string(*label) + ", but there are " +
                    std::to_string(classes.size()) + " class names",
                "name all classes, in the order of their labels");
  for (const std::string& pattern : templates)
    captions.push_back(jobs::filled_prompt(pattern, classes[static_cast<std::size_t>(*label)]));
  return captions;
}

}  // namespace trireme::worker::data
