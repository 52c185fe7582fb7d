#include "worker/stages/synthesize/tar_writer.h"

#include <array>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "common/base/error.h"

namespace trireme::worker::stages::synthesize {
namespace {
constexpr std::size_t kBlock = 512;
}

void TarWriter::add(std::string_view name, std::string_view bytes) {
  if (name.size() > 100) throw Error(ErrorKind::kInternal, "tar member name too long: " + std::string(name));
  std::array<char, kBlock> header{};
  std::memcpy(header.data(), name.data(), name.size());
  std::memcpy(&header[100], "0000644", 7);
  std::memcpy(&header[108], "0000000", 7);
  std::memcpy(&header[116], "0000000", 7);
  std::snprintf(&header[124], 12, "%011zo", bytes.size());
  std::memcpy(&header[136], "00000000000", 11);
  std::memset(&header[148], ' ', 8);
  header[156] = '0';
  std::memcpy(&header[257], "ustar\00000", 8);
  const unsigned sum = std::accumulate(header.begin(), header.end(), 0U, [](unsigned total, char c) {
    return total + static_cast<unsigned char>(c);
  });
  std::snprintf(&header[148], 8, "%06o", sum);
  header[155] = ' ';
  file_.write({header.data(), header.size()});
  file_.write(bytes);
  file_.write(std::string((kBlock - bytes.size() % kBlock) % kBlock, '\0'));
}

void TarWriter::finish() {
  file_.write(std::string(2 * kBlock, '\0'));
  file_.finish();
}

}  // namespace trireme::worker::stages::synthesize
