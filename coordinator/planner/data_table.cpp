#include "coordinator/planner/data_table.h"

#include <algorithm>

#include "common/base/error.h"
#include "coordinator/planner/sources/shard_reading.h"

namespace trireme::coordinator::planner {
namespace {

std::array<unsigned char, 32> bytes_of_hex(const std::string& hex, const std::string& shard) {
  std::array<unsigned char, 32> bytes{};
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  bool fine = hex.size() == 64;
  for (std::size_t i = 0; fine && i < 32; ++i) {
    const int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);
    fine = high >= 0 && low >= 0;
    bytes[i] = static_cast<unsigned char>(high * 16 + low);
  }
  if (!fine) throw Error(ErrorKind::kInternal, "inspect reported no SHA-256 for " + shard);
  return bytes;
}

std::string hex_of_bytes(const std::array<unsigned char, 32>& bytes) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : bytes) {
    hex += kHex[byte >> 4];
    hex += kHex[byte & 15];
  }
  return hex;
}

}  // namespace

DataTable::DataTable(std::string name, const jobs::DataSpec& spec, std::int64_t task_samples)
    : name_(std::move(name)),
      spec_(spec),
      selection_(jobs::parse_selection(spec.select)),
      task_samples_(task_samples) {}

void DataTable::add_shard(const jobs::ShardRef& shard, std::uint64_t identity) {
  Shard row;
  row.path_at = paths_.size();
  row.path_length = static_cast<std::uint32_t>(shard.path.size());
  row.bytes = shard.bytes;
  row.identity = identity;
  row.source = static_cast<std::uint32_t>(shard.source);
  row.format = shard.format;
  paths_ += shard.path;
  shards_.push_back(row);
}

std::int64_t DataTable::bad_samples() const {
  std::int64_t sum = 0;
  for (const auto& [reason, count] : bad_) sum += count;
  return sum;
}

std::string DataTable::listed(const std::map<std::string, std::int64_t>& counts) {
  std::string out;
  for (const auto& [reason, count] : counts)
    if (count > 0) out += (out.empty() ? "" : ", ") + std::to_string(count) + " " + reason;
  return out.empty() ? "none" : out;
}

std::vector<std::int64_t> DataTable::set_inspected(std::int64_t shard, const jobs::ShardSummary& summary) {
  Shard& row = shards_[static_cast<std::size_t>(shard)];
  const std::string path = shard_ref(shard).path;
  if (summary.samples <= 0 && !spec_.allow_empty_shards)
    throw Error(ErrorKind::kInvalid,
                "shard " + path + " of data set \"" + name_ + "\" has no usable sample" +
                    (summary.bad.empty() ? "" : " (bad: " + listed(summary.bad) + ")") +
                    (summary.advice.empty() ? "" : ": " + summary.advice),
                "or take it away, or set spec.data." + name_ + ".allow_empty_shards=true");
  check_reading(shard, path, summary);
  row.sha256 = bytes_of_hex(summary.sha256, path);
  row.samples = summary.samples;
  ++inspected_;
  usable_ += summary.samples;
  for (const auto& [reason, count] : summary.bad) bad_[reason] += count;
  for (const auto& [what, count] : summary.seen) seen_[what] += count;
  if (!summary.reading.empty()) readings_[shard] = summary.reading;
  if (advice_.empty() && !summary.bad.empty()) advice_ = summary.advice;
  if (!summary.bad.empty()) note_damage(path, summary);
  std::vector<std::int64_t> fresh;
  const bool everything = spec_.select.empty();
  if (everything) cut(shard, 0, fresh);
  while (frontier_ < size() && at(frontier_).samples >= 0) {
    if (!everything) cut(frontier_, before_frontier_, fresh);
    before_frontier_ += at(frontier_).samples;
    ++frontier_;
  }
  if (all_known()) check_totals();
  return fresh;
}

void DataTable::check_reading(std::int64_t shard, const std::string&,
                              const jobs::ShardSummary& summary) const {
  check_shard_reading(shard_ref(shard), spec_.sources[at(shard).source], name_, classes_, summary);
}

std::string DataTable::content(std::int64_t shard) const {
  const std::string sha256 = hex_of_bytes(at(shard).sha256);
  const auto found = readings_.find(shard);
  return found == readings_.end() ? sha256 : sha256 + " " + found->second;
}

std::string DataTable::seen_text() const {
  const auto count = [&](const char* what) {
    const auto found = seen_.find(what);
    return found == seen_.end() ? std::int64_t{0} : found->second;
  };
  std::string text;
  const auto say = [&](const char* what, const char* words) {
    if (count(what) > 0) text += (text.empty() ? "" : ", ") + std::to_string(count(what)) + " " + words;
  };
  say("last_dot", "samples named up to their last dot");
  say("joined", "samples whose members are not adjacent, joined");
  say("linked", "hard links, read as what they point to");
  say("json.unreadable", "samples whose .json is no JSON object and is not read");
  say("members.bad", "members of bad samples");
  say("rows.bad", "bad rows");
  say("members.other", "members that are no data");
  say("members.hidden", "hidden files");
  say("rows.hidden", "rows that name hidden files");
  say("pictures.unnamed", "pictures beside the table that no row names");
  if (text.empty()) return "";
  return count("members") > 0 ? "of " + std::to_string(count("members")) + " members: " + text
                              : "of " + std::to_string(count("rows")) + " rows: " + text;
}

void DataTable::note_damage(const std::string& path, const jobs::ShardSummary& summary) {
  Damaged found{0, path, listed(summary.bad)};
  for (const auto& [reason, count] : summary.bad) found.bad += count;
  for (std::size_t i = 0; i < summary.examples.size(); ++i)
    found.text += (i == 0 ? "; " : ", ") + summary.examples[i];
  const auto place = std::ranges::upper_bound(damaged_, found.bad, std::greater<>(), &Damaged::bad);
  damaged_.insert(place, std::move(found));
  if (damaged_.size() > kDamagedListed) damaged_.pop_back();
}

// `before`: usable samples in all shards before this one.
void DataTable::cut(std::int64_t shard, std::int64_t before, std::vector<std::int64_t>& fresh) {
  Shard& row = shards_[static_cast<std::size_t>(shard)];
  const bool everything = spec_.select.empty();
  const std::int64_t first =
      everything ? 0 : std::clamp(selection_.first - before, std::int64_t{0}, row.samples);
  const std::int64_t last =
      everything ? row.samples : std::clamp(selection_.last - before, first, row.samples);
  row.selected_first = first;
  row.selected_count = last - first;
  row.first_range = range_count();
  if (first == last) return;
  for (std::int64_t grid = first / task_samples_; grid * task_samples_ < last; ++grid) {
    fresh.push_back(range_count());
    range_shard_.push_back(static_cast<std::uint32_t>(shard));
  }
}

void DataTable::check_totals() const {
  const std::int64_t bad = bad_samples(), all = usable_ + bad;
  if (all > 0 && static_cast<double>(bad) > spec_.max_bad_fraction * static_cast<double>(all))
    throw Error(ErrorKind::kInvalid,
                std::to_string(bad) + " of " + std::to_string(all) + " samples of data set \"" + name_ +
                    "\" are bad (" + listed(bad_) + "), more than max_bad_fraction allows; worst shard " +
                    (damaged_.empty() ? std::string("unknown")
                                      : damaged_.front().path + ": " + damaged_.front().text) +
                    (advice_.empty() ? "" : "; " + advice_),
                "repair the data, or raise spec.data." + name_ + ".max_bad_fraction");
  if (range_count() == 0)
    throw Error(ErrorKind::kInvalid,
                "data set \"" + name_ + "\" has " + std::to_string(usable_) + " usable samples, of which " +
                    (spec_.select.empty() ? "none is left" : "select \"" + spec_.select + "\" leaves none"),
                "see spec.data." + name_);
}

std::int64_t DataTable::ranges_of(std::int64_t shard) const {
  const Shard& row = at(shard);
  if (row.first_range < 0 || row.selected_count <= 0) return 0;
  const std::int64_t last = row.selected_first + row.selected_count;
  return (last - 1) / task_samples_ - row.selected_first / task_samples_ + 1;
}

Range DataTable::range(std::int64_t index) const {
  const std::int64_t shard = range_shard_[static_cast<std::size_t>(index)];
  const Shard& row = at(shard);
  const std::int64_t grid = row.selected_first / task_samples_ + (index - row.first_range);
  const std::int64_t first = std::max(row.selected_first, grid * task_samples_);
  const std::int64_t last = std::min(row.selected_first + row.selected_count, (grid + 1) * task_samples_);
  return {shard, first, last - first};
}

std::int64_t DataTable::range_at(std::int64_t shard, std::int64_t first) const {
  if (shard < 0 || shard >= size() || ranges_of(shard) == 0) return -1;
  const Shard& row = at(shard);
  const std::int64_t index = row.first_range + first / task_samples_ - row.selected_first / task_samples_;
  if (index < row.first_range || index >= row.first_range + ranges_of(shard)) return -1;
  return range(index).first == first ? index : -1;
}

jobs::ShardRef DataTable::shard_ref(std::int64_t shard) const {
  const Shard& row = at(shard);
  jobs::ShardRef ref;
  ref.data = name_;
  ref.shard = shard;
  ref.path = paths_.substr(row.path_at, row.path_length);
  ref.format = row.format;
  ref.source = row.source;
  ref.bytes = row.bytes;
  if (row.samples >= 0) ref.sha256 = hex_of_bytes(row.sha256);
  ref.samples = row.samples;
  ref.selected_first = row.selected_first;
  ref.selected_count = row.selected_count;
  return ref;
}

}  // namespace trireme::coordinator::planner
