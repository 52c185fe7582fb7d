#include "jobs/search/frames.h"

#include "common/io/little_endian.h"

namespace trireme::jobs {
namespace {

constexpr std::size_t kHead = 4 + 8 + 1;

}  // namespace

std::string encoded(const Frame& frame) {
  std::string bytes;
  io::put(bytes, static_cast<std::uint32_t>(frame.body.size()));
  io::put(bytes, frame.number);
  bytes += static_cast<char>(frame.code);
  return bytes + frame.body;
}

std::optional<Frame> take_frame(std::string& bytes) {
  if (bytes.size() < kHead) return std::nullopt;
  const auto length = io::get<std::uint32_t>(bytes, 0);
  if (length > kLargestFrame)
    throw Error(ErrorKind::kDamaged, "a message of " + std::to_string(length) + " bytes");
  if (bytes.size() < kHead + length) return std::nullopt;
  Frame frame{io::get<std::uint64_t>(bytes, 4), static_cast<std::uint8_t>(bytes[12]),
              bytes.substr(kHead, length)};
  bytes.erase(0, kHead + length);
  return frame;
}

}  // namespace trireme::jobs
