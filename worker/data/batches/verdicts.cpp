#include "worker/data/batches/verdicts.h"

#include <string>

#include <nlohmann/json.hpp>

#include "common/base/error.h"

namespace trireme::worker::data {
namespace {

[[noreturn]] void damaged(const io::Path& path, std::int64_t line, const std::string& why) {
  throw Error(ErrorKind::kDamaged, path.string() + ":" + std::to_string(line) + ": " + why,
              "remove the file and run the filter stage again");
}

}  // namespace

KeptSamples read_verdicts(const io::Path& path) {
  const std::string text = io::read_file(path);
  KeptSamples out;
  std::int64_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    ++line;
    try {
      const auto row = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                                             text.begin() + static_cast<std::ptrdiff_t>(end));
      if (line == 1) {
        if (row.at("format") != "trireme-verdicts" || row.at("version") != 1)
          damaged(path, line, "not verdicts of version 1");
        out.first = row.at("first").get<std::int64_t>();
        out.count = row.at("count").get<std::int64_t>();
      } else {
        if (row.at("sample").get<std::int64_t>() != out.first + line - 2)
          damaged(path, line, "a sample is missing or out of order");
        if (row.at("kept").get<bool>()) out.kept.push_back(static_cast<std::int32_t>(out.first + line - 2));
      }
    } catch (const nlohmann::json::exception& error) {
      damaged(path, line, error.what());
    }
    at = end + 1;
  }
  if (line != out.count + 1) damaged(path, line, "the file ends before its last sample");
  return out;
}

}  // namespace trireme::worker::data
