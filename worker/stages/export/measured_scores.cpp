#include "worker/stages/export/measured_scores.h"

#include <charconv>

#include <simdjson.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/file.h"
#include "worker/data/batches/scores.h"

namespace trireme::worker::stages::export_shards {
namespace {

namespace dom = simdjson::dom;

std::string digits_of(double number) {
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof digits, number).ptr};
}

// Members that the document lacks; `others`: whether it has one with another value.
std::map<std::string, double> lacking(const dom::object& document,
                                      const std::map<std::string, double>& members, bool& others) {
  std::map<std::string, double> missing;
  for (const auto& [name, number] : members) {
    dom::element there;
    double value = 0;
    if (document[name].get(there) != simdjson::SUCCESS)
      missing[name] = number;
    else if (there.get(value) != simdjson::SUCCESS || value != number)
      others = true;
  }
  return missing;
}

}  // namespace

MeasuredScores::MeasuredScores(const runtime::OpenedTask& task) {
  for (const auto& path : task.inputs.paths(jobs::Role::kFacts)) read_facts(path);
  for (const auto& input : task.inputs.all(jobs::Role::kScores)) {
    auto scores = data::read_scores(input.path, data::kSimilarity, task.shard().sha256);
    by_key_.emplace_back(input.stage, std::move(scores));
    any_ = true;
  }
}

void MeasuredScores::read_facts(const std::string& path) {
  any_ = true;
  const std::string text = io::read_file(path);
  dom::parser parser;
  std::int64_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    ++line;
    try {
      const dom::element row = parser.parse(text.data() + at, end - at).value();
      dom::object columns;
      if (line > 1 && row["columns"].get(columns) == simdjson::SUCCESS) {
        auto& numbers = by_sample_[std::int64_t(row["sample"].value())];
        for (const auto& [name, value] : columns) {
          double number = 0;
          if (!value.is_number() || value.get(number) != simdjson::SUCCESS) continue;
          const auto [place, is_new] = numbers.emplace(name, number);
          if (!is_new && place->second != number)
            throw Error(ErrorKind::kInvalid,
                        path + ":" + std::to_string(line) + ": two filters judge by a column \"" +
                            place->first + "\", " + digits_of(number) + " and " + digits_of(place->second),
                        "give the scores of one of them another name");
        }
      }
    } catch (const simdjson::simdjson_error& error) {
      throw Error(ErrorKind::kDamaged, path + ":" + std::to_string(line) + ": " + error.what(),
                  "remove the file and run the filter stage again");
    }
    at = end + 1;
  }
}

std::map<std::string, double> MeasuredScores::of(std::int64_t sample, const std::string& key) const {
  std::map<std::string, double> members;
  if (const auto found = by_sample_.find(sample); found != by_sample_.end()) members = found->second;
  for (const auto& [stage, scores] : by_key_)
    if (const auto found = scores.find(key); found != scores.end()) members[stage] = found->second;
  return members;
}

std::string with_members(const std::string& json, const std::map<std::string, double>& members, bool& added) {
  thread_local dom::parser parser;
  dom::object document;
  added = false;
  if (members.empty() || parser.parse(json).get(document) != simdjson::SUCCESS) return json;
  added = true;
  bool others = false;
  const auto missing = lacking(document, members, others);
  if (others) {
    auto changed = nlohmann::ordered_json::parse(json);
    for (const auto& [name, number] : members) changed[name] = number;
    return changed.dump(4, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  }
  std::string text;
  for (const auto& [name, number] : missing)
    text += (text.empty() && document.size() == 0 ? "" : ", ") + nlohmann::json(name).dump() + ": " +
            digits_of(number);
  std::size_t at = json.rfind('}');  // and before the white space that stands before it
  while (at > 0 && std::string_view(" \t\r\n").find(json[at - 1]) != std::string_view::npos) --at;
  return json.substr(0, at) + text + json.substr(at);
}

}  // namespace trireme::worker::stages::export_shards
