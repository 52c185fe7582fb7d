#include "worker/data/batches/scores.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/folder.h"

namespace trireme::worker::data {
namespace {

using nlohmann::json;

void check_head(const json& head, const io::Path& path, std::string_view score, const std::string& sha256) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::kInvalid, path.string() + " is refused: " + why,
                "write it again from the shard as it is now");
  };
  if (!head.is_object() || head.value("format", "") != "trireme-scores" || head.value("version", 0) != 1)
    refuse("it does not say that it holds scores of version 1");
  if (head.value("name", "") != score) refuse("it holds scores called " + head.value("name", json()).dump());
  if (head.value("shard_sha256", "") != sha256)
    refuse("it was made for another input: shard_sha256 is " + head.value("shard_sha256", json()).dump() +
           ", the shard's is " + sha256);
}

}  // namespace

io::Path score_path(const std::string& folder, const std::string& score, const io::Path& shard) {
  const std::string name = shard.stem().string() + "." + score + ".scores.jsonl";
  return (folder == "." ? shard.parent_path() : io::Path(folder)) / name;
}

std::string scores_file(std::string_view score, const std::string& shard_sha256,
                        const std::vector<std::pair<std::string, double>>& by_key) {
  std::string text =
      json{{"format", "trireme-scores"}, {"version", 1}, {"name", score}, {"shard_sha256", shard_sha256}}
          .dump() +
      "\n";
  for (const auto& [key, value] : by_key)
    text += json{{"key", key}, {"score", value}}.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  return text;
}

std::unordered_map<std::string, double> read_scores(const io::Path& path, std::string_view score,
                                                    const std::string& shard_sha256) {
  if (!io::is_file(path))
    throw Error(ErrorKind::kNotFound, "there are no scores " + path.string(),
                "write them, or take the rule out of the filter");
  const std::string text = io::read_file(path);
  std::unordered_map<std::string, double> out;
  std::int64_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    ++line;
    try {
      const json row = json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                                   text.begin() + static_cast<std::ptrdiff_t>(end));
      if (line == 1)
        check_head(row, path, score, shard_sha256);
      else
        out[row.at("key").get<std::string>()] = row.at("score").get<double>();
    } catch (const json::exception& error) {
      throw Error(ErrorKind::kDamaged, path.string() + ":" + std::to_string(line) + ": " + error.what(),
                  "a line is {\"key\": …, \"score\": number}");
    }
    at = end + 1;
  }
  if (line == 0) check_head({}, path, score, shard_sha256);
  return out;
}

}  // namespace trireme::worker::data
