#include "jobs/layouts/folder_listing.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "jobs/layouts/leftover.h"
#include "jobs/layouts/member_name.h"
#include "jobs/specification/image_suffix.h"

namespace trireme::jobs {
namespace {
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

void list(const io::Path& folder, const std::string& prefix, bool below, std::vector<ListedFile>& files) {
  for (const auto& path : io::list_folder(folder)) {
    const std::string name = prefix + path.filename().string();
    if (io::is_folder(path)) {
      if (below && !is_leftover(name)) list(path, name + "/", below, files);
    } else if (!io::exists(path)) {
      files.push_back({name, 0, 0});  // a link to nothing
    } else if (io::is_file(path)) {
      const io::FileStatus status = io::status_of(path);
      files.push_back({name, status.bytes, status.changed_s * 1'000'000'000 + status.changed_ns});
    }
  }
}

}  // namespace

std::vector<ListedFile> files_of_folder(const io::Path& folder, bool below) {
  std::vector<ListedFile> files;
  list(folder, "", below, files);
  std::ranges::sort(files, [](const auto& a, const auto& b) { return natural_less(a.name, b.name); });
  return files;
}

std::vector<std::string> folders_in(const io::Path& folder) {
  std::vector<std::string> names;
  for (const auto& path : io::list_folder(folder))
    if (io::is_folder(path) && !is_leftover(path.filename().string()))
      names.push_back(path.filename().string());
  return names;
}

std::int64_t class_of_folder(const io::Path& folder) {
  const auto names = folders_in(folder.parent_path());
  const auto found = std::ranges::find(names, folder.filename().string());
  if (found == names.end())
    throw Error(ErrorKind::kInvalid, folder.string() + " is no class folder", "hidden folders are none");
  return found - names.begin();
}

std::vector<io::Path> parquet_of(const io::Path& shard, const std::string& setting) {
  const io::Path folder = setting == "." ? shard.parent_path() : io::Path(setting);
  if (io::is_file(folder)) return {folder};
  const std::string stem = io::is_folder(shard) ? shard.filename().string() : shard.stem().string();
  const io::Path own = folder / (stem + ".parquet");
  if (io::is_file(own)) return {own};
  std::vector<io::Path> all;
  if (setting != "." && io::is_folder(folder))
    for (const auto& file : files_of_folder(folder))
      if (file.name.ends_with(".parquet") && !is_leftover(file.name)) all.push_back(folder / file.name);
  if (all.empty())
    throw Error(ErrorKind::kNotFound,
                "there is no parquet for shard " + shard.string() + ": no " + own.string(),
                "\"parquet\" of the source is a file, a folder, or \".\" for the one beside each shard");
  return all;
}

bool is_picture_name(const std::string& name) {
  MemberName split;
  return split_member(name, KeyRule::kLastDot, split) && is_image_suffix(split.suffix);
}

bool natural_less(const std::string& a, const std::string& b) {
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      std::size_t a_end = i, b_end = j;
      while (a_end < a.size() && is_digit(a[a_end])) ++a_end;
      while (b_end < b.size() && is_digit(b[b_end])) ++b_end;
      while (i + 1 < a_end && a[i] == '0') ++i;
      while (j + 1 < b_end && b[j] == '0') ++j;
      if (a_end - i != b_end - j) return a_end - i < b_end - j;
      if (const int order = a.compare(i, a_end - i, b, j, b_end - j); order != 0) return order < 0;
      i = a_end;
      j = b_end;
    } else if (a[i] != b[j]) {
      return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
    } else {
      ++i;
      ++j;
    }
  }
  if ((i < a.size()) != (j < b.size())) return j < b.size();
  return a < b;  // 01.tar and 1.tar
}

}  // namespace trireme::jobs
