#include "worker/data/tallies/framed_file.h"

#include <algorithm>

#include "common/base/error.h"

namespace trireme::worker::data {

std::string frame_head(std::string_view magic, std::uint32_t version) {
  std::string head(magic);
  io::put(head, version);
  return head;
}

void write_framed(const io::Path& path, std::string text) {
  io::put(text, io::xxh3_64(text));
  io::write_file_atomic(path, text);
}

void damaged_file(const io::Path& path, const std::string& what, std::string_view stage) {
  throw Error(ErrorKind::kDamaged, path.string() + ": " + what,
              "remove the file and run the " + std::string(stage) + " stage again");
}

void require_intact(bool holds, const io::Path& path, const std::string& what, std::string_view stage) {
  if (!holds) damaged_file(path, what, stage);
}

void check_frame(const io::MappedFile& file, std::string_view magic, std::uint32_t version, std::size_t least,
                 std::string_view stage) {
  const auto bytes = file.bytes();
  require_intact(bytes.size() >= std::max<std::size_t>(least, 12) + 8 && io::view(bytes.data(), 8) == magic &&
                     io::get<std::uint32_t>(bytes.data() + 8) == version,
                 file.path(), "not a file of this kind, version " + std::to_string(version), stage);
  require_intact(io::xxh3_64(io::view(bytes.data(), bytes.size() - 8)) ==
                     io::get<std::uint64_t>(bytes.data() + bytes.size() - 8),
                 file.path(), "its checksum is off", stage);
}

}  // namespace trireme::worker::data
