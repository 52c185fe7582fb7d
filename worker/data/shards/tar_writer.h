// Writes a tar (POSIX ustar) of small members, byte-identical for equal members: no times, owners or modes of
// this machine. Names over 100 bytes get a GNU long-name member before them.
#pragma once

#include <string>
#include <string_view>

#include "common/io/file.h"

namespace trireme::worker::data {

class TarWriter {
 public:
  explicit TarWriter(const io::Path& path) : file_(path) {}
  void add(std::string_view name, std::string_view bytes);
  void finish();  // the two empty blocks, then durable

 private:
  void header(std::string_view name, std::size_t size, char type);
  void body(std::string_view bytes);
  io::FileWriter file_;
};

}  // namespace trireme::worker::data
