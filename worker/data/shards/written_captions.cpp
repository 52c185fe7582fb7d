#include "worker/data/shards/written_captions.h"

#include <cmath>

#include <nlohmann/json.hpp>

#include "common/base/error.h"

namespace trireme::worker::data {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kCaptionsVersion = 1;

[[noreturn]] void damaged_captions(const io::Path& path, std::int64_t line, const std::string& why) {
  throw Error(ErrorKind::kDamaged, path.string() + ":" + std::to_string(line) + ": " + why,
              "remove the file and run the caption stage again");
}

std::string line_of(const WrittenCaption& one) {
  ordered_json row{{"sample", one.sample}, {"key", one.key}, {"caption", one.text}};
  if (one.fault.empty()) {
    row["log_probability"] = std::round(one.log_probability * 1e6) / 1e6;
    row["tokens"] = one.tokens;
    row["ended"] = one.ended;
  } else {
    row["fault"] = one.fault;
  }
  return row.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

void read_head(const json& head, const io::Path& path, WrittenCaptions& out) {
  if (head.at("format") != "trireme-captions" || head.at("version") != kCaptionsVersion)
    damaged_captions(path, 1, "not captions of version 1");
  head.at("shard_sha256").get_to(out.shard_sha256);
  head.at("first").get_to(out.first);
  head.at("count").get_to(out.count);
  head.at("model").get_to(out.model);
  out.decoding = head.at("decoding").dump();
}

WrittenCaption caption_of(const json& row, const io::Path& path, std::int64_t line,
                          const WrittenCaptions& so_far) {
  WrittenCaption one;
  row.at("sample").get_to(one.sample);
  row.at("key").get_to(one.key);
  row.at("caption").get_to(one.text);
  one.fault = row.value("fault", "");
  if (one.fault.empty()) {
    row.at("log_probability").get_to(one.log_probability);
    row.at("tokens").get_to(one.tokens);
    row.at("ended").get_to(one.ended);
  }
  if (one.sample < so_far.first || one.sample >= so_far.first + so_far.count ||
      (!so_far.captions.empty() && one.sample <= so_far.captions.back().sample))
    damaged_captions(path, line, "sample " + std::to_string(one.sample) + " is out of order or of range");
  return one;
}

}  // namespace

void write_captions_file(const io::Path& path, const WrittenCaptions& captions) {
  ordered_json head{
      {"format", "trireme-captions"}, {"version", kCaptionsVersion}, {"shard_sha256", captions.shard_sha256},
      {"first", captions.first},      {"count", captions.count},     {"samples", captions.captions.size()},
      {"model", captions.model}};
  head["decoding"] = ordered_json::parse(captions.decoding);
  std::string text = head.dump() + "\n";
  for (const WrittenCaption& one : captions.captions) text += line_of(one);
  io::write_file_atomic(path, text);
}

WrittenCaptions read_captions_file(const io::Path& path) {
  const std::string text = io::read_file(path);
  WrittenCaptions out;
  std::int64_t line = 0;
  std::size_t samples = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    ++line;
    if (end == std::string::npos) damaged_captions(path, line, "the last line is cut");
    try {
      const json row = json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                                   text.begin() + static_cast<std::ptrdiff_t>(end));
      if (line == 1) {
        read_head(row, path, out);
        row.at("samples").get_to(samples);
      } else {
        out.captions.push_back(caption_of(row, path, line, out));
      }
    } catch (const json::exception& error) {
      damaged_captions(path, line, error.what());
    }
    at = end + 1;
  }
  if (line == 0) damaged_captions(path, 1, "the file is empty");
  if (out.captions.size() != samples)
    damaged_captions(path, line,
                     std::to_string(out.captions.size()) + " of " + std::to_string(samples) + " samples");
  return out;
}

ShardCaptions::ShardCaptions(const std::vector<std::string>& files, const Shard& shard,
                             const ShardReader& reader, const std::vector<std::int32_t>& kept)
    : texts_(static_cast<std::size_t>(reader.size())) {
  std::vector<std::string> keys(texts_.size());
  std::vector<bool> there(texts_.size());
  for (const std::string& file : files) {
    WrittenCaptions captions = read_captions_file(file);
    if (captions.shard_sha256 != shard.sha256)
      throw Error(ErrorKind::kInvalid,
                  "the " + std::to_string(captions.captions.size()) + " captions in " + file +
                      " are stale: they were written for a shard with sha256 " + captions.shard_sha256 +
                      ", " + shard.path + " has " + shard.sha256,
                  "run the caption stage '" + shard.stage + "' again");
    for (WrittenCaption& one : captions.captions) {
      const auto at = static_cast<std::size_t>(one.sample);
      if (at >= texts_.size()) continue;  // counted below where it belongs to nobody
      there[at] = true;
      keys[at] = std::move(one.key);
      texts_[at] = std::move(one.text);
    }
  }
  std::int64_t missing = 0, stale = 0;
  std::string first;
  for (const std::int32_t sample : kept) {
    const auto at = static_cast<std::size_t>(sample);
    const bool other = there[at] && keys[at] != reader.key(sample);
    if (there[at] && !other) continue;
    ++(other ? stale : missing);
    if (first.empty()) first = reader.key(sample);
  }
  if (missing + stale == 0) return;
  throw Error(
      ErrorKind::kInvalid,
      "captions of stage '" + shard.stage + "' do not fit shard " + shard.path + ": " +
          std::to_string(missing) + " of its " + std::to_string(kept.size()) + " samples have none, " +
          std::to_string(stale) + " have one of another key (first: key " + first + ")",
      "caption the samples that are trained on: the caption stage must not stand behind a filter that "
      "training does not have");
}

}  // namespace trireme::worker::data
