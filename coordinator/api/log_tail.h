// Follows the per-rank logs of a run folder as whole lines.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/io/file.h"

namespace trireme::coordinator::api {

class LogTail {
 public:
  // `rank` < 0: all. Starts so that at most `last_lines` (< 0: all) and one MiB per rank come first.
  LogTail(io::Path folder, int rank, std::int64_t last_lines);
  // The whole lines that came since the last call, rank after rank; at most 256 KiB per rank and call.
  std::string next();

 private:
  std::uint64_t start_of(const io::Path& file) const;
  io::Path folder_;
  int rank_;
  std::int64_t last_lines_;
  std::map<io::Path, std::uint64_t> read_;  // bytes handed out
};

}  // namespace trireme::coordinator::api
