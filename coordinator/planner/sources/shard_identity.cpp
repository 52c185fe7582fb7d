#include "coordinator/planner/sources/shard_identity.h"

#include "common/io/folder.h"
#include "common/io/hash.h"
#include "jobs/layouts/folder_listing.h"

namespace trireme::coordinator::planner {

using jobs::DataFormat;

std::uint64_t identity_of(const std::string& path, DataFormat format, std::uint64_t& bytes) {
  if (format == DataFormat::kFiles || format == DataFormat::kClassFolders) {
    std::string listing = io::real_path(path).value_or(path).string() + '\n' + std::string(name_of(format));
    bytes = 0;
    for (const auto& file : jobs::files_of_folder(path, format == DataFormat::kClassFolders)) {
      listing += file.name + '\n' + std::to_string(file.bytes) + " " + std::to_string(file.changed_ns) + '\n';
      bytes += file.bytes;
    }
    if (format == DataFormat::kClassFolders) listing += std::to_string(jobs::class_of_folder(path));
    return io::xxh3_64(listing);
  }
  const io::FileStatus status = io::status_of(path);
  bytes = status.bytes;
  return io::xxh3_64(io::real_path(path).value_or(path).string() + '\n' + std::to_string(bytes) + '\n' +
                     std::to_string(status.changed_s) + "." + std::to_string(status.changed_ns));
}

std::uint64_t identity_of(const std::string& path, DataFormat format, const std::string& parquet,
                          std::uint64_t& bytes) {
  std::uint64_t whole = identity_of(path, format, bytes);
  if (!parquet.empty())
    for (const auto& file : jobs::parquet_of(path, parquet)) {
      std::uint64_t beside = 0;
      whole = io::xxh3_64(io::hex(whole) + io::hex(identity_of(file.string(), DataFormat::kUnset, beside)));
    }
  return whole;
}

std::string changed_file(const std::vector<ListedFile>& files) {
  for (const auto& file : files) {
    std::uint64_t bytes = 0;
    if (io::exists(file.path) && identity_of(file.path, file.format, file.parquet, bytes) != file.identity)
      return file.path;
  }
  return "";
}

}  // namespace trireme::coordinator::planner
