// Where the search service of a run listens: <run>/search-service.json, written when it listens, gone with
// it. Services of one run share it: the last one started is announced, and when that has gone another.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/io/file.h"

namespace trireme::jobs {

struct ServiceFile {
  std::string url;
  std::int64_t pid = 0;
  std::string host;        // host_name() where it runs
  std::string index;       // what this run is called in the service
  std::string token_file;  // "" where none is asked for
};

// A folder that cannot be written to, or that is an index itself, gets none.
void write_service_file(const io::Path& run, const ServiceFile& service);
// The same where nothing is announced, or a process of this host that has ended; whether it was written.
bool announce_again(const io::Path& run, const ServiceFile& service);
// Nothing when there is none or it is damaged.
std::optional<ServiceFile> read_service_file(const io::Path& run);
// If it is that of this process.
void remove_service_file(const io::Path& run, std::int64_t pid);

}  // namespace trireme::jobs
