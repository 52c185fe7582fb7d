#include "coordinator/planner/tar_layout.h"

#include "jobs/store/tar_scan.h"

namespace trireme::coordinator::planner {
namespace {

constexpr int kMembers = 64;
constexpr std::uint64_t kLongestText = 64 << 10;

bool ends_with(const std::string& name, std::string_view suffix) {  // lower case
  return name.size() >= suffix.size() &&
         std::equal(suffix.rbegin(), suffix.rend(), name.rbegin(),
                    [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b + 32 : b); });
}

}  // namespace

bool looks_like_clip_benchmark(const io::Path& path) {
  const auto tar = io::open_source(path);
  store::TarWalk walk(*tar);
  bool several_lines = false;
  std::string storage;
  for (int i = 0; i < kMembers; ++i) {
    const auto member = walk.next();
    if (!member) break;
    if (ends_with(member->name, ".cls")) return true;
    if (ends_with(member->name, ".json")) return false;
    if (!ends_with(member->name, ".txt") || member->size > kLongestText) continue;
    const std::string_view text = tar->view(member->offset, member->size, storage);
    const std::size_t line = text.find('\n');
    several_lines = several_lines || (line != std::string::npos &&
                                      text.find_first_not_of("\r\n \t", line) != std::string::npos);
  }
  return several_lines;
}

}  // namespace trireme::coordinator::planner
