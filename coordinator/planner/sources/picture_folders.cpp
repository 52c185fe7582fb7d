#include "coordinator/planner/sources/picture_folders.h"

#include <algorithm>
#include <map>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "jobs/layouts/folder_listing.h"
#include "jobs/layouts/leftover.h"
#include "jobs/layouts/member_name.h"
#include "jobs/layouts/table_text.h"

namespace trireme::coordinator::planner {
namespace {

constexpr std::size_t kNamed = 5;  // of many files

template <class Visit>
void walk(const io::Path& folder, const Visit& visit) {
  visit(folder);
  std::vector<std::string> names = jobs::folders_in(folder);
  std::ranges::sort(names, jobs::natural_less);
  for (const auto& name : names) walk(folder / name, visit);
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < kNamed; ++i) out += (i == 0 ? "" : ", ") + names[i];
  return names.size() > kNamed ? out + " and " + std::to_string(names.size() - kNamed) + " more" : out;
}

bool lies_in(const std::string& folder, const io::Path& above) {
  const std::string root = above.string();
  return folder == root || folder.starts_with(root + "/");
}

}  // namespace

bool pictures_in(const io::Path& folder) {
  return std::ranges::any_of(io::list_folder(folder), [](const io::Path& path) {
    const std::string name = path.filename().string();
    return jobs::is_picture_name(name) && !jobs::is_leftover(name) && io::is_file(path);
  });
}

std::vector<std::string> picture_folders(const io::Path& folder) {
  std::vector<std::string> found;
  walk(folder, [&](const io::Path& path) {
    if (pictures_in(path)) found.push_back(path.string());
  });
  return found;
}

std::string metadata_in(const io::Path& folder) {
  for (const char* name : {"metadata.jsonl", "metadata.csv", "metadata.parquet"})
    if (io::is_file(folder / name)) return (folder / name).string();
  return "";
}

std::vector<std::string> metadata_below(const io::Path& folder) {
  std::vector<std::string> tables, bare;
  walk(folder, [&](const io::Path& path) {
    if (const std::string table = metadata_in(path); !table.empty()) tables.push_back(table);
  });
  if (tables.empty()) return tables;
  for (const auto& table : tables)
    if (table.ends_with(".parquet"))
      throw Error(
          ErrorKind::kInvalid, table + " tells about the pictures beside it, and is not read there",
          "write it as metadata.jsonl: python3 -c 'import pandas; pandas.read_parquet(\"metadata.parquet\")"
          ".to_json(\"metadata.jsonl\", orient=\"records\", lines=True)'");
  for (const auto& one : picture_folders(folder))
    if (std::ranges::none_of(tables, [&](const auto& t) { return lies_in(one, io::Path(t).parent_path()); }))
      bare.push_back(one);
  if (!bare.empty())
    throw Error(
        ErrorKind::kInvalid,
        "pictures below " + folder.string() + " are told about by " + joined(tables) + ", those in " +
            joined(bare) + " by no table",
        "name one of the folders as path, or set layout \"files\" to read pictures without the tables");
  return tables;
}

std::string tables_not_taken(const std::vector<std::string>& folders, const std::vector<std::string>& taken) {
  std::vector<std::string> found;
  for (const auto& folder : folders)
    for (const auto& path : io::list_folder(folder)) {
      const std::string name = path.filename().string();
      const bool table = jobs::is_table_name(name) || name.ends_with(".parquet");
      if (table && !jobs::is_leftover(name) && std::ranges::find(taken, path.string()) == taken.end())
        found.push_back(path.string());
    }
  return found.empty() ? "" : joined(found);
}

std::string other_files(const io::Path& folder) {
  std::map<std::string, std::size_t> counts;
  for (const auto& file : jobs::files_of_folder(folder, true)) {
    const std::string name = io::Path(file.name).filename().string();
    if (jobs::is_picture_name(name) || jobs::is_leftover(file.name) || jobs::is_table_name(name) ||
        name.ends_with(".parquet"))
      continue;
    const auto dot = name.rfind('.');
    ++counts[dot == std::string::npos ? "without a suffix" : jobs::lower_case(name.substr(dot))];
  }
  std::vector<std::string> found;
  for (const auto& [suffix, count] : counts)
    found.push_back(std::to_string(count) + " " + printable(suffix, 40));
  return found.empty() ? "" : joined(found);
}

}  // namespace trireme::coordinator::planner
