#include "worker/stages/export/export_stage.h"

#include <algorithm>
#include <array>
#include <unordered_set>

#include <simdjson.h>
#include <nlohmann/json.hpp>

#include "common/io/machine/aside.h"
#include "jobs/specification/job_spec.h"
#include "worker/data/images/image.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/data/shards/tar_writer.h"
#include "worker/stages/export/measured_scores.h"

namespace trireme::worker::stages::export_shards {
namespace {

// A sample to write: its place, and the captions to keep ("all" when empty).
struct Chosen {
  std::int64_t sample = 0;
  std::vector<std::int64_t> captions;
};

// The kept lines of a verdicts file, with the captions that passed.
void read_kept(const std::string& path, std::vector<Chosen>& out) {
  const std::string text = io::read_file(path);
  simdjson::dom::parser parser;
  std::int64_t line = 0;
  for (std::size_t at = 0; at < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    try {
      const simdjson::dom::element row = parser.parse(text.data() + at, end - at).value();
      if (line > 0 && bool(row["kept"].value())) {
        Chosen chosen{std::int64_t(row["sample"].value()), {}};
        if (simdjson::dom::array list; row["captions"].get(list) == simdjson::SUCCESS)
          for (const auto& position : list) chosen.captions.push_back(std::int64_t(position));
        out.push_back(std::move(chosen));
      }
    } catch (const simdjson::simdjson_error& error) {
      throw Error(ErrorKind::kDamaged, path + ":" + std::to_string(line + 1) + ": " + error.what(),
                  "remove the file and run the filter stage again");
    }
    at = end + 1;
  }
}

std::vector<Chosen> chosen_samples(const runtime::OpenedTask& task, std::int64_t size) {
  std::vector<Chosen> out;
  const auto verdicts = task.inputs.paths(jobs::Role::kVerdicts);
  for (const auto& path : verdicts) read_kept(path, out);
  std::sort(out.begin(), out.end(), [](const Chosen& a, const Chosen& b) { return a.sample < b.sample; });
  if (!verdicts.empty()) return out;
  const jobs::ShardRef& shard = task.shard();
  const std::int64_t first = shard.selected_count < 0 ? 0 : shard.selected_first,
                     count = shard.selected_count < 0 ? size : shard.selected_count;
  for (std::int64_t i = 0; i < count; ++i) out.push_back({first + i, {}});
  return out;
}

std::string suffix_of(std::string_view image) {
  data::ImageInfo info;
  data::image_info(image, info);
  return info.format.empty() || info.format == "jpeg" ? "jpg" : info.format;
}

// Tables name samples by path; a key may hold neither folders nor dots, and stands for one sample of the tar.
std::string member_key(std::string key, std::int64_t sample, std::unordered_set<std::string>& used) {
  for (char& c : key)
    if (c == '/' || c == '.' || static_cast<unsigned char>(c) < 0x20) c = '_';
  while (!used.insert(key).second) key += "_" + std::to_string(sample);
  return key;
}

std::string text_of(const data::ShardReader& shard, const Chosen& chosen) {
  const std::string raw = shard.raw_text(chosen.sample);
  if (chosen.captions.empty() && !raw.empty()) return std::string(raw);
  const auto captions = shard.captions(chosen.sample);
  std::string out;
  for (std::size_t i = 0; i < captions.size(); ++i) {
    const bool kept =
        chosen.captions.empty() || std::find(chosen.captions.begin(), chosen.captions.end(),
                                             static_cast<std::int64_t>(i)) != chosen.captions.end();
    if (kept) out += (out.empty() ? "" : "\n") + captions[i];
  }
  return out;
}

using Uid = std::array<unsigned char, 16>;

// 32 hex digits of a member of .json.
bool read_uid(std::string_view json, const std::string& column, Uid& uid) {
  thread_local simdjson::dom::parser parser;
  simdjson::dom::element document;
  std::string_view text;
  if (json.empty() || parser.parse(json.data(), json.size()).get(document) != simdjson::SUCCESS ||
      document[column].get(text) != simdjson::SUCCESS || text.size() != 32)
    return false;
  for (std::size_t i = 0; i < 32; ++i) {
    const char c = text[i];
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return false;
    uid[i / 2] = static_cast<unsigned char>(i % 2 == 0 ? digit << 4 : uid[i / 2] | digit);
  }
  return true;
}

std::string json_of(const data::ShardReader& shard, std::int64_t sample, const std::string& key,
                    const std::string& text) {
  if (std::string json = shard.json(sample); !json.empty()) return json;
  const nlohmann::ordered_json made{
      {"caption", text.substr(0, text.find('\n'))}, {"key", key}, {"status", "success"}};
  return made.dump(4, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

// Returns whether a score went into its .json.
bool write_sample(data::TarWriter& tar, const data::ShardReader& shard, const Chosen& chosen,
                  bool passed_only, const MeasuredScores& scores, std::unordered_set<std::string>& used) {
  const std::string name = shard.key(chosen.sample), key = member_key(name, chosen.sample, used);
  std::string storage;
  const std::string_view image = shard.image_bytes(chosen.sample, storage);
  const std::string text = text_of(shard, passed_only ? chosen : Chosen{chosen.sample, {}});
  if (const auto label = shard.label(chosen.sample)) tar.add(key + ".cls", std::to_string(*label));
  tar.add(key + "." + suffix_of(image), image);
  bool scored = false;
  tar.add(key + ".json",
          with_members(json_of(shard, chosen.sample, key, text), scores.of(chosen.sample, name), scored));
  if (!text.empty() || shard.label(chosen.sample)) tar.add(key + ".txt", text);  // photographs have none
  return scored;
}

}  // namespace

jobs::TaskDone ExportStage::work(const Task& task, runtime::TaskContext& context) {
  const auto& settings = task.settings;
  const data::ShardReader shard = task.open_shard();
  const auto samples = chosen_samples(task, shard.size());
  const io::Path path = task.output();
  const io::Aside aside(path);
  io::make_folders(path.parent_path());
  const MeasuredScores scores(task);
  std::vector<Uid> uids;
  std::int64_t scored = 0;
  {
    data::TarWriter tar(aside.path());
    std::unordered_set<std::string> used;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      context.stop->throw_if_stopped();
      scored += write_sample(tar, shard, samples[i], settings.drop_captions, scores, used) ? 1 : 0;
      if (Uid uid{}; read_uid(shard.json(samples[i].sample), settings.uid_column, uid)) uids.push_back(uid);
      if (context.progress)
        context.progress(static_cast<std::int64_t>(i) + 1, static_cast<std::int64_t>(samples.size()));
    }
    tar.finish();
  }
  io::rename_durably(aside.path(), path);  // over the same bytes, if any: the store is addressed by content
  std::sort(uids.begin(), uids.end());
  std::string bytes;
  for (const Uid& uid : uids) bytes.append(reinterpret_cast<const char*>(uid.data()), uid.size());
  io::write_file_atomic(task.beside(), bytes);
  const auto exported = static_cast<std::int64_t>(samples.size()),
             with_uid = static_cast<std::int64_t>(uids.size());
  jobs::TaskDone result;
  runtime::describe_outputs(task, result);
  result.counts = {{"exported", exported},
                   {"bytes", static_cast<std::int64_t>(result.outputs[0].bytes)},
                   {"uids", with_uid},
                   {"no_uid", exported - with_uid}};
  if (scores.any()) result.counts.insert({{"scored", scored}, {"no_score", exported - scored}});
  return result;
}

}  // namespace trireme::worker::stages::export_shards
