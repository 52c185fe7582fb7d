#include "worker/data/shards/tar_writer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <numeric>

namespace trireme::worker::data {
namespace {
constexpr std::size_t kBlock = 512;
}

void TarWriter::header(std::string_view name, std::size_t size, char type) {
  std::array<char, kBlock> header{};
  std::memcpy(header.data(), name.data(), std::min<std::size_t>(name.size(), 100));
  std::memcpy(&header[100], "0000644", 7);
  std::memcpy(&header[108], "0000000", 7);
  std::memcpy(&header[116], "0000000", 7);
  std::snprintf(&header[124], 12, "%011zo", size);
  std::memcpy(&header[136], "00000000000", 11);
  std::memset(&header[148], ' ', 8);
  header[156] = type;
  std::memcpy(&header[257], "ustar\00000", 8);
  const unsigned sum = std::accumulate(header.begin(), header.end(), 0U, [](unsigned total, char c) {
    return total + static_cast<unsigned char>(c);
  });
  std::snprintf(&header[148], 8, "%06o", sum);
  header[155] = ' ';
  file_.write({header.data(), header.size()});
}

void TarWriter::body(std::string_view bytes) {
  static const std::string zeros(kBlock, '\0');
  file_.write(bytes);
  file_.write(std::string_view(zeros).substr(0, (kBlock - bytes.size() % kBlock) % kBlock));
}

void TarWriter::add(std::string_view name, std::string_view bytes) {
  if (name.size() > 100) {
    header("././@LongLink", name.size() + 1, 'L');
    body(std::string(name) + '\0');
  }
  header(name, bytes.size(), '0');
  body(bytes);
}

void TarWriter::finish() {
  file_.write(std::string(2 * kBlock, '\0'));
  file_.finish();
}

}  // namespace trireme::worker::data
