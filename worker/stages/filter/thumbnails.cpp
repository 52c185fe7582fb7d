#include "worker/stages/filter/thumbnails.h"

#include <nlohmann/json.hpp>

#include "common/io/base64.h"
#include "worker/data/batches/image_batch.h"

namespace trireme::worker::stages::filter {
namespace {

constexpr int kPerGroup = 4;
constexpr std::int64_t kSidePx = 112;
constexpr std::size_t kCaptionBytes = 300;

// "" when the picture cannot be decoded.
std::string thumbnail(const data::ShardReader& shard, std::int64_t sample) {
  std::string storage;
  data::Image picture;
  const data::DecodeRequest request{.least_side_px = kSidePx, .options = data::picture_options(shard)};
  if (!data::decode_image(shard.image_bytes(sample, storage), request, picture).empty()) return "";
  return data::jpeg_thumbnail(picture, kSidePx);
}

}  // namespace

void ThumbnailChoice::offer(std::int64_t sample, const Verdict& verdict) {
  const std::vector<std::string> groups = verdict.kept ? std::vector<std::string>{""} : verdict.rules;
  for (const auto& group : groups) {
    if (taken_[group] >= kPerGroup) continue;
    ++taken_[group];
    chosen_.push_back({sample, verdict.kept, group});
    return;
  }
}

std::string thumbnail_lines(const data::ShardReader& shard, const std::vector<ChosenSample>& chosen) {
  std::string out;
  for (const auto& [sample, kept, rule] : chosen) {
    const auto captions = shard.captions(sample);
    nlohmann::ordered_json line = {{"sample", sample}, {"key", shard.key(sample)}, {"kept", kept}};
    if (!kept) line["rule"] = rule;
    line["caption"] = captions.empty() ? "" : captions.front().substr(0, kCaptionBytes);
    const std::string jpeg = thumbnail(shard, sample);
    if (!jpeg.empty()) line["jpeg"] = io::base64(jpeg);
    out += line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }
  return out;
}

}  // namespace trireme::worker::stages::filter
