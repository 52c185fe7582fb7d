#include "coordinator/report/picture_grid.h"

#include <map>

#include <nlohmann/json.hpp>

#include "common/io/file.h"
#include "coordinator/report/html.h"

namespace trireme::coordinator::report {
namespace {

struct Picture {
  std::string key, caption, jpeg_base64;
};

bool is_base64(const std::string& text) {
  return text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") ==
         std::string::npos;
}

std::string figure(const Picture& picture) {
  return "<figure><img alt='" + escape(picture.caption) + "' src='data:image/jpeg;base64," +
         picture.jpeg_base64 + "'><figcaption title='" + escape(picture.key) + "'>" +
         escape(picture.caption) + "</figcaption></figure>";
}

}  // namespace

std::string picture_grids(const std::vector<std::string>& thumbnail_files, std::size_t most_per_group) {
  std::map<std::string, std::vector<Picture>> groups;
  // One picture per group and file first, so that the grid shows the whole set and not its first shard.
  const std::size_t stride = thumbnail_files.size() > 64 ? thumbnail_files.size() / 64 : 1;
  for (std::size_t i = 0; i < thumbnail_files.size(); i += stride) {
    io::LineReader file(thumbnail_files[i]);
    for (std::string line; file.next(line);) {
      const auto row = nlohmann::json::parse(line, nullptr, false);
      if (!row.is_object() || !row.contains("jpeg") || !row["jpeg"].is_string()) continue;
      auto& group = groups[row.value("kept", false) ? "" : row.value("rule", std::string("?"))];
      const std::string jpeg = row["jpeg"];
      if (group.size() < most_per_group && is_base64(jpeg))
        group.push_back({row.value("key", std::string()), row.value("caption", std::string()), jpeg});
    }
  }
  std::string out;
  for (const auto& [rule, pictures] : groups) {
    out += "<h3>" + (rule.empty() ? std::string("Kept") : "Dropped by " + escape(rule)) +
           "</h3><div class='grid'>";
    for (const auto& picture : pictures) out += figure(picture);
    out += "</div>";
  }
  return out;
}

}  // namespace trireme::coordinator::report
