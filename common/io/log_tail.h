// Follows the per-rank logs of a run folder as whole lines.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/io/file.h"

namespace trireme::io {

class LogTail {
 public:
  // `rank` < 0: all. Starts so that at most `last_lines` (< 0: all) and one MiB per rank come first.
  LogTail(Path folder, int rank, std::int64_t last_lines);
  // The whole lines that came since the last call, rank after rank; at most 256 KiB per rank and call.
  std::string next();

 private:
  std::uint64_t start_of(const Path& file) const;
  Path folder_;
  int rank_;
  std::int64_t last_lines_;
  std::map<Path, std::uint64_t> read_;  // bytes handed out
};

}  // namespace trireme::io
