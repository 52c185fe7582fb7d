// The page of a search: pictures in order of rank, self-contained (base64 thumbnails, no script, no outside
// file).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace trireme::worker::stages::index {

struct SheetPicture {
  std::int64_t rank = 1;
  float score = 0;
  std::string key, caption;
  std::string jpeg;  // encoded picture, "" when the shard cannot be read any more
};

std::string contact_sheet(const std::string& query, const std::vector<SheetPicture>& pictures);

}  // namespace trireme::worker::stages::index
