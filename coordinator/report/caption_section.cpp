#include "coordinator/report/caption_section.h"

#include <algorithm>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "coordinator/report/html.h"

namespace trireme::coordinator::report {
namespace {

using nlohmann::json;

// From as many files as there are captions to show, the first of each, then the second, ….
std::vector<std::vector<std::string>> some_captions(const std::vector<std::string>& files, std::size_t most) {
  std::vector<std::vector<std::string>> rows;
  const std::size_t shown = std::min(files.size(), most);
  for (std::size_t i = 0; i < shown; ++i) {
    io::LineReader file(files[i * files.size() / shown]);
    std::size_t wanted = most / shown + (i < most % shown ? 1 : 0);
    for (std::string line; wanted > 0 && file.next(line);) {
      const json row = json::parse(line, nullptr, false);
      if (!row.is_object() || !row.contains("caption") || !row["caption"].is_string()) continue;
      const auto number = row.find("log_probability");
      rows.push_back({row.value("key", std::string()), row["caption"].get<std::string>(),
                      number != row.end() && number->is_number() ? rounded(number->get<double>()) : ""});
      --wanted;
    }
  }
  return rows;
}

}  // namespace

std::string caption_sections(const ReportInput& input, std::size_t most_per_stage) {
  std::string out;
  for (const auto& stage : input.stages) {
    const auto rows = some_captions(stage.caption_files, most_per_stage);
    if (rows.empty()) continue;
    std::vector<std::vector<std::string>> counts;
    for (const auto& [name, value] : stage.counts) counts.push_back({name, with_commas(value)});
    out += "<h2>Captions: " + escape(stage.name) + "</h2>" + table({"count", "captions"}, counts) +
           table({"sample", "caption", "log-probability"}, rows);
  }
  return out;
}

}  // namespace trireme::coordinator::report
