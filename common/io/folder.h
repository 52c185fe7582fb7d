// What lies where: questions about names, and work on whole folders. Links are followed. Functions that do
// not say otherwise throw Error naming the path.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "common/io/file_system.h"

namespace trireme::io {

// False too where it cannot be known (no permission, a broken link).
bool exists(const Path& path, const FileSystem& files = disk());
bool is_file(const Path& path, const FileSystem& files = disk());  // a regular one
bool is_folder(const Path& path, const FileSystem& files = disk());
bool may_run(const Path& program);
bool may_write_into(const Path& folder);

// exists(), and where it does not, looks again for a while: on a network file system another host's rename is
// seen late.
bool appears(const Path& path, const FileSystem& files = disk(),
             std::chrono::milliseconds patience = std::chrono::seconds(10));

std::uint64_t size_of(const Path& path, const FileSystem& files = disk());
void set_mode(const Path& path, unsigned mode);  // as chmod(2)

struct FileStatus {
  std::uint64_t bytes = 0;
  std::int64_t changed_s = 0, changed_ns = 0;  // its contents, since 1970
  unsigned mode = 0;                           // permissions, as in chmod(1)
  bool ours = false;                           // this user owns it
  std::uint64_t device = 0, number = 0;
  bool operator==(const FileStatus&) const = default;
};
FileStatus status_of(const Path& path, const FileSystem& files = disk());

// What lies directly in it, sorted. A folder that is not there: kNotFound, or nothing with `if_there`.
std::vector<Path> list_folder(const Path& folder);
std::vector<Path> list_folder_if_there(const Path& folder);
// Every regular file below it, sorted.
std::vector<Path> files_below(const Path& folder);

// False when there was nothing, or it cannot be removed: a leftover costs space, no result.
bool remove_file(const Path& path, const FileSystem& files = disk());
bool remove_tree(const Path& path);

// A folder written aside takes its place, durably; what lay there goes when the new one is in.
void replace_folder(const Path& aside, const Path& place, const FileSystem& files = disk());

// `from` as `to` (replaced if there): a hard link where the file system allows, else a copy, synced.
void link_or_copy(const Path& from, const Path& to, const FileSystem& files = disk());
// Every file below `from` in the same place below `to`, which is made.
void link_or_copy_tree(const Path& from, const Path& to, const FileSystem& files = disk());

Path absolute(const Path& path);
// Absolute and without links, as far as it exists; nothing where that cannot be known.
std::optional<Path> real_path(const Path& path);
bool same_file(const Path& a, const Path& b);
Path working_folder();
Path temporary_folder();
Path own_program();  // the running executable

}  // namespace trireme::io
