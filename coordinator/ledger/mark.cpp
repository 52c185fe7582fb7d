#include "coordinator/ledger/mark.h"

#include <array>
#include <cerrno>

#include <fcntl.h>

#include "common/base/error.h"
#include "common/io/hash.h"
#include "common/io/little_endian.h"

namespace trireme::coordinator::ledger {
namespace {
constexpr std::size_t kSlotBytes = 16;

std::uint64_t slot_hash(std::uint64_t sequence, std::uint64_t run_key) {
  const std::array<std::uint64_t, 2> both{sequence, run_key};
  return io::xxh3_64({reinterpret_cast<const char*>(both.data()), sizeof both});
}
}  // namespace

std::optional<std::uint64_t> Mark::read(const io::Path& path, std::uint64_t run_key) {
  const std::string bytes = io::read_file(path, 4096);
  std::optional<std::uint64_t> best;
  for (std::size_t at = 0; at + kSlotBytes <= bytes.size() && at < 2 * kSlotBytes; at += kSlotBytes) {
    const auto sequence = io::get<std::uint64_t>(bytes, at), hash = io::get<std::uint64_t>(bytes, at + 8);
    if (hash == slot_hash(sequence, run_key) && (!best || sequence > *best)) best = sequence;
  }
  return best;
}

bool Mark::blank(const io::Path& path) {
  const std::string bytes = io::read_file(path, 4096);
  for (std::size_t at = 0; at + 8 <= bytes.size(); at += kSlotBytes) {
    if (io::get<std::uint64_t>(bytes, at) != 0) return false;
  }
  return true;
}

Mark::Mark(const io::Path& path, std::uint64_t run_key, std::uint64_t last, const io::FileSystem& files)
    : files_(files), path_(path), run_key_(run_key) {
  descriptor_ = files_.open(path, O_RDWR | O_CREAT, 0600);
  if (descriptor_ < 0) throw system_error("cannot open " + path.string(), errno);
  put(0, last);
  put(1, last);
  sync();
}

Mark::~Mark() {
  if (descriptor_ >= 0) files_.close(descriptor_);
}

void Mark::put(unsigned slot, std::uint64_t sequence) {
  const std::array<std::uint64_t, 2> both{sequence, slot_hash(sequence, run_key_)};
  const auto written = files_.write_at(descriptor_, both.data(), kSlotBytes, slot * kSlotBytes);
  if (written != static_cast<ssize_t>(kSlotBytes))
    throw system_error("cannot write " + path_.string(), written < 0 ? errno : ENOSPC);
}

void Mark::advance(std::uint64_t sequence) {
  put(slot_, sequence);
  slot_ ^= 1U;
}

void Mark::sync() {
  if (files_.sync(descriptor_) != 0) throw system_error("cannot sync " + path_.string(), errno);
}

}  // namespace trireme::coordinator::ledger
