#include "worker/search/index.h"

#include <algorithm>
#include <charconv>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "worker/kernels/threads.h"
#include "worker/search/recall.h"

namespace trireme::worker::search {
namespace {

// The first sixteen digits of its contents' hash name a segment.
std::string name_of_segment(const SegmentPlace& segment) {
  return segment.file.xxh3.substr(0, 16);
}

}  // namespace

Index::Index(const io::Path& run_or_index)
    : folder_(index_folder(run_or_index)),
      manifest_(read_manifest(folder_)),
      exact_(std::vector<RowRange>()) {
  for (const auto& file : manifest_.files)
    if (file.name != "lists.safetensors" && !is_sound(folder_, file))
      throw Error(ErrorKind::kDamaged, (folder_ / file.name).string() + " is missing or not what was written",
                  kMakeAgain);
  std::vector<RowRange> ranges;
  std::int64_t first = 0;
  for (const auto& placed : manifest_.segments) {
    first_.push_back(first);
    segments_.emplace_back();
    try {
      if (!is_sound(folder_, placed.file)) throw Error(ErrorKind::kDamaged, "not what was written");
      segments_.back() = std::make_unique<Segment>(folder_ / placed.file.name);
      if (segments_.back()->size() != placed.items || segments_.back()->width() != manifest_.width)
        throw Error(ErrorKind::kDamaged, "its rows are not those of the manifest");
      ranges.push_back({first, segments_.back()->rows()});
    } catch (const Error& error) {
      log_warning("index", (folder_ / placed.file.name).string() + " is left out: " + error.what());
      segments_.back() = nullptr;
      damaged_.push_back(placed.file.name);
    }
    first += placed.items;
  }
  if (ranges.empty())
    throw Error(ErrorKind::kDamaged, folder_.string() + " has no segment that can be read", kMakeAgain);
  exact_ = ExactIndex(std::move(ranges));
  if (!manifest_.approximate) return;
  try {
    const auto file = std::find_if(manifest_.files.begin(), manifest_.files.end(),
                                   [](const NamedFile& one) { return one.name == "lists.safetensors"; });
    if (file == manifest_.files.end() || !is_sound(folder_, *file))
      throw Error(ErrorKind::kDamaged, "not what was written");
    lists_ = std::make_unique<Lists>(folder_ / "lists.safetensors", rows(), manifest_.width);
  } catch (const Error& error) {  // every search is exact then
    log_warning("index", (folder_ / "lists.safetensors").string() + " is left out: " + error.what());
    damaged_.emplace_back("lists.safetensors");
  }
}

std::size_t Index::segment_of(std::int64_t row) const {
  if (row < 0 || row >= rows()) throw Error(ErrorKind::kNotFound, "there is no item " + std::to_string(row));
  const auto after = std::upper_bound(first_.begin(), first_.end(), row);
  return static_cast<std::size_t>(after - first_.begin()) - 1;
}

Item Index::item(std::int64_t row) const {
  const std::size_t at = segment_of(row);
  if (!segments_[at])
    throw Error(ErrorKind::kDamaged, manifest_.segments[at].file.name + " is damaged", kMakeAgain);
  return segments_[at]->item(row - first_[at]);
}

const ShardPlace& Index::shard_of(std::int64_t row) const {
  return manifest_.shards[static_cast<std::size_t>(manifest_.segments[segment_of(row)].shard)];
}

std::string Index::id_of(std::int64_t row) const {
  const std::size_t at = segment_of(row);
  return name_of_segment(manifest_.segments[at]) + "." + std::to_string(row - first_[at]);
}

std::optional<std::int64_t> Index::row_of(const std::string& id) const {
  const std::size_t dot = id.find('.');
  if (dot == std::string::npos) return std::nullopt;
  std::int64_t row = -1;
  const auto [end, failure] = std::from_chars(id.data() + dot + 1, id.data() + id.size(), row);
  if (failure != std::errc() || end != id.data() + id.size()) return std::nullopt;
  for (std::size_t at = 0; at < segments_.size(); ++at)
    if (segments_[at] && row >= 0 && row < segments_[at]->size() &&
        id.compare(0, dot, name_of_segment(manifest_.segments[at])) == 0)
      return first_[at] + row;
  return std::nullopt;
}

std::int64_t Index::probes(MadeOf made) const {
  switch (made) {
    case MadeOf::kImages:
      return manifest_.image.probes;
    case MadeOf::kTexts:
      return manifest_.text.probes;
    case MadeOf::kBoth:
      break;
  }
  return std::max(manifest_.image.probes, manifest_.text.probes);
}

std::optional<double> Index::promise(MadeOf made, bool exact,
                                     const std::vector<Condition>& conditions) const {
  if (exact || !lists_ || !conditions.empty()) return 1;
  if (made == MadeOf::kBoth) return std::nullopt;
  const Promise& measured = made == MadeOf::kImages ? manifest_.image : manifest_.text;
  return measured.queries > 0 ? std::optional<double>(measured.recall) : std::nullopt;
}

std::vector<std::uint8_t> Index::allowed(const std::vector<Condition>& conditions) const {
  for (const auto& condition : conditions)
    if (std::find(manifest_.columns.begin(), manifest_.columns.end(), condition.column) ==
        manifest_.columns.end()) {
      std::string known;
      for (const auto& column : manifest_.columns) known += (known.empty() ? "" : ", ") + column;
      throw Error(ErrorKind::kInvalid, "the index has no column '" + printable(condition.column, 100) + "'",
                  known.empty() ? "name columns in the index stage" : "it has " + known);
    }
  std::vector<std::uint8_t> all(static_cast<std::size_t>(rows()));
  for (std::size_t at = 0; at < segments_.size(); ++at)
    if (segments_[at]) {
      const auto some = allowed_rows(*segments_[at], conditions);
      std::copy(some.begin(), some.end(), all.begin() + first_[at]);
    }
  return all;
}

std::vector<std::vector<Hit>> Index::search(const at::Tensor& query_QD, std::int64_t k, MadeOf made,
                                            bool exact, const std::vector<Condition>& conditions) const {
  if (!conditions.empty()) {
    const auto mask = allowed(conditions);
    return exact_.search(query_QD, k, 1024, &mask);
  }
  if (exact || !lists_) return exact_.search(query_QD, k);
  std::vector<std::vector<Hit>> hits(static_cast<std::size_t>(query_QD.size(0)));
  kernels::over_threads(0, query_QD.size(0), [&](std::int64_t begin, std::int64_t end) {
    const at::NoGradGuard no_gradients;
    for (std::int64_t q = begin; q < end; ++q)
      hits[static_cast<std::size_t>(q)] = ranked_candidates(exact_, *lists_, query_QD[q], probes(made), k);
  });
  return hits;
}

std::vector<Hit> Index::distinct(const std::vector<Hit>& hits, double cosine, std::int64_t wanted) const {
  std::vector<Hit> kept;
  auto rows = at::empty({wanted, manifest_.width}, at::kFloat);
  for (const Hit& hit : hits) {
    if (static_cast<std::int64_t>(kept.size()) == wanted) break;
    const auto own = exact_.row(hit.row);
    const auto before = static_cast<std::int64_t>(kept.size());
    if (before > 0 && rows.narrow(0, 0, before).mv(own).max().item<float>() >= cosine) continue;
    rows[before].copy_(own);
    kept.push_back(hit);
  }
  return kept;
}

}  // namespace trireme::worker::search
