#include <cstring>

#include <xxhash.h>

#include "jobs/protocol/body.h"
#include "jobs/protocol/messages.h"

namespace trireme::jobs {
namespace {
constexpr std::string_view kMagic = "TRMS";
constexpr std::size_t kCheckedBytes = 28;  // the header without its checksum
constexpr std::size_t kHeaderBytes = kCheckedBytes + 8;

template <class T>
void put(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    out += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
}
template <class T>
T get(std::string_view bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  return static_cast<T>(value);
}

std::uint64_t checksum(std::string_view header, std::string_view body) {
  return XXH3_64bits_withSeed(body.data(), body.size(), XXH3_64bits(header.data(), header.size()));
}

[[noreturn]] void damaged(const std::string& what) {
  throw Error(ErrorKind::kDamaged, "control message: " + what);
}
}  // namespace

std::string encode(const Envelope& envelope) {
  const std::string body = body_of(envelope.message);
  if (body.size() > kLongestBody)
    throw Error(ErrorKind::kInternal, "a control message of " + std::to_string(body.size()) + " bytes");
  std::string bytes(kMagic);
  bytes.reserve(kHeaderBytes + body.size());
  put(bytes, kProtocolVersion);
  put(bytes, static_cast<std::uint16_t>(envelope.message.index()));
  put(bytes, envelope.run);
  put(bytes, envelope.incarnation.value);
  put(bytes, static_cast<std::uint32_t>(body.size()));
  put(bytes, checksum(bytes, body));
  return bytes + body;
}

Envelope decode(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes) damaged("shorter than its header");
  if (bytes.substr(0, kMagic.size()) != kMagic) damaged("wrong magic");
  const auto version = get<std::uint16_t>(bytes, 4);
  if (version != kProtocolVersion)
    damaged("protocol version " + std::to_string(version) + " where " + std::to_string(kProtocolVersion) +
            " is spoken; start coordinator and workers from one build");
  const std::string_view body = bytes.substr(kHeaderBytes);
  if (get<std::uint32_t>(bytes, 24) != body.size() || body.size() > kLongestBody) damaged("wrong length");
  if (get<std::uint64_t>(bytes, kCheckedBytes) != checksum(bytes.substr(0, kCheckedBytes), body))
    damaged("wrong checksum");
  Envelope envelope;
  envelope.run = get<std::uint64_t>(bytes, 8);
  envelope.incarnation.value = get<std::uint64_t>(bytes, 16);
  envelope.message = message_from_body(get<std::uint16_t>(bytes, 6), body);
  return envelope;
}

std::uint64_t run_key(std::string_view run_id) {
  return XXH3_64bits(run_id.data(), run_id.size());
}

}  // namespace trireme::jobs
