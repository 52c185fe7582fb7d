#include "jobs/layouts/leftover.h"

#include <algorithm>
#include <array>
#include <string>

#include "jobs/layouts/member_name.h"

namespace trireme::jobs {
namespace {

constexpr std::array<std::string_view, 6> kForeignFolders = {
    "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found"};
constexpr std::array<std::string_view, 4> kForeignFiles = {"thumbs.db", "ehthumbs.db", "desktop.ini",
                                                           "icon\r"};
constexpr std::array<std::string_view, 14> kEndings = {
    "~",         ".swp",   ".swo",        ".part", ".partial", ".crdownload", ".download",
    ".filepart", ".aria2", ".opdownload", ".tmp",  ".temp",    ".bak",        ".orig"};
constexpr std::array<PackedShard, 14> kPacked = {{{".tar.gz", "gunzip"},
                                                  {".tgz", "gunzip"},
                                                  {".tar.zst", "zstd -d --rm"},
                                                  {".tzst", "zstd -d --rm"},
                                                  {".tar.xz", "unxz"},
                                                  {".txz", "unxz"},
                                                  {".tar.bz2", "bunzip2"},
                                                  {".tbz2", "bunzip2"},
                                                  {".tbz", "bunzip2"},
                                                  {".tar.lz4", "lz4 -d --rm"},
                                                  {".tar.lzma", "unlzma"},
                                                  {".tar.z", "uncompress"},
                                                  {".zip", "unzip (and name the folder that it leaves)"},
                                                  {".7z", "7z x (and name the folder that it leaves)"}}};

template <class List>
bool holds(const List& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

bool hidden_part(std::string_view part) {
  if (part.empty() || part == "." || part == "..") return false;
  return part[0] == '.' || holds(kForeignFolders, lower_case(part));
}

}  // namespace

bool is_leftover_file(std::string_view path) {
  const std::string base = lower_case(path.substr(path.rfind('/') + 1));
  if (hidden_part(base) || holds(kForeignFiles, base) || base.starts_with("~$")) return true;
  if (base.size() > 2 && base.front() == '#' && base.back() == '#') return true;
  return std::any_of(kEndings.begin(), kEndings.end(), [&](std::string_view ending) {
    return base.size() > ending.size() && base.ends_with(ending);
  });
}

bool is_leftover(std::string_view path) {
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    if (hidden_part(path.substr(at, end - at))) return true;
    at = end + 1;
  }
  return is_leftover_file(path);
}

std::optional<PackedShard> packed_shard(std::string_view name) {
  const std::string base = lower_case(name);
  for (const PackedShard& packed : kPacked)
    if (base.size() > packed.suffix.size() && base.ends_with(packed.suffix)) return packed;
  return std::nullopt;
}

}  // namespace trireme::jobs
