#include "jobs/layouts/folder_listing.h"

#include <algorithm>
#include <chrono>

#include "common/base/error.h"
#include "jobs/layouts/leftover.h"
#include "jobs/layouts/member_name.h"
#include "jobs/specification/image_suffix.h"

namespace trireme::jobs {
namespace {
namespace fs = std::filesystem;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

void list(const fs::path& folder, const std::string& prefix, bool below, std::vector<ListedFile>& files) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = prefix + entry.path().filename().string();
    if (entry.is_directory()) {
      if (below && !is_leftover(name)) list(entry.path(), name + "/", below, files);
    } else if (entry.is_regular_file()) {
      const auto changed = entry.last_write_time().time_since_epoch();
      files.push_back(
          {name, entry.file_size(), std::chrono::duration_cast<std::chrono::nanoseconds>(changed).count()});
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
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_directory() && !is_leftover(entry.path().filename().string()))
      names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
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
  const fs::path folder = setting == "." ? shard.parent_path() : fs::path(setting);
  if (fs::is_regular_file(folder)) return {folder};
  const std::string stem = fs::is_directory(shard) ? shard.filename().string() : shard.stem().string();
  const fs::path own = folder / (stem + ".parquet");
  if (fs::is_regular_file(own)) return {own};
  std::vector<fs::path> all;
  if (setting != "." && fs::is_directory(folder))
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
