// Writes a tar (POSIX ustar) of small members, byte-identical for equal members: no times, owners or modes of
// this machine. Names up to 100 bytes.
#pragma once

#include <string>
#include <string_view>

#include "common/io/file.h"

namespace trireme::worker::stages::synthesize {

class TarWriter {
 public:
  explicit TarWriter(const io::Path& path) : file_(path) {}
  void add(std::string_view name, std::string_view bytes);
  void finish();  // the two empty blocks, then durable

 private:
  io::FileWriter file_;
};

}  // namespace trireme::worker::stages::synthesize
