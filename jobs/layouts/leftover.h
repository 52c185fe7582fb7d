// What programs leave beside data and what is packed: never read as data, known by name to planner and
// worker.
#pragma once

#include <optional>
#include <string_view>

namespace trireme::jobs {

// `path`: of a member of a tar, or of a file below a folder that somebody named; not the named part itself.
// True when one of its parts is hidden (begins with a dot; "." and ".." are none) or belongs to an archiver
// or a NAS (__MACOSX, @eaDir …), or the file is what an editor or a download leaves (*~, *.swp, *.part, *.tmp
// …).
bool is_leftover(std::string_view path);
// The same of the base name alone, for paths that a table spells out.
bool is_leftover_file(std::string_view path);

// A shard as archivers leave it ("00001.tar.gz").
struct PackedShard {
  std::string_view suffix;  // ".tar.gz"
  std::string_view unpack;  // a command that makes a .tar of it
};
std::optional<PackedShard> packed_shard(std::string_view name);

}  // namespace trireme::jobs
