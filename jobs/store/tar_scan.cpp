#include "jobs/store/tar_scan.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace trireme::store {
namespace {

constexpr std::uint64_t kBlock = 512;
constexpr std::uint64_t kMemberLimit = std::uint64_t{64} << 20;
constexpr std::uint64_t kHeaderChainLimit = std::uint64_t{1} << 20;
constexpr std::size_t kNameLimit = 4096;
constexpr std::int64_t kMembersLimit = 1'000'000;

std::string_view field(std::string_view block, std::size_t at, std::size_t size) {
  const std::string_view raw = block.substr(at, size);
  return raw.substr(0, raw.find('\0'));
}

// Octal text, or base 256 when the first bit is set. Nothing when it is neither.
std::optional<std::uint64_t> number(std::string_view raw) {
  if (!raw.empty() && (static_cast<unsigned char>(raw[0]) & 0x80U)) {
    std::uint64_t value = static_cast<unsigned char>(raw[0]) & 0x7FU;
    for (std::size_t i = 1; i < raw.size(); ++i) {
      if (value >> 55) return std::nullopt;
      value = (value << 8) | static_cast<unsigned char>(raw[i]);
    }
    return value;
  }
  std::uint64_t value = 0;
  for (const char c : raw) {
    if (c == ' ' && value == 0) continue;
    if (c == ' ' || c == '\0') break;
    if (c < '0' || c > '7' || value >> 60) return std::nullopt;
    value = value * 8 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

bool is_zero(std::string_view block) {
  return std::all_of(block.begin(), block.end(), [](char c) { return c == '\0'; });
}

bool checksum_holds(std::string_view block) {
  const auto stored = number(block.substr(148, 8));
  if (!stored) return false;
  std::uint64_t sum = 0, signed_sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    const char c = i >= 148 && i < 156 ? ' ' : block[i];
    sum += static_cast<unsigned char>(c);
    signed_sum += static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<signed char>(c)));
  }
  return *stored == sum || *stored == signed_sum;
}

// What PAX and GNU entries say about the next member.
struct Overrides {
  std::optional<std::string> name, link;
  std::optional<std::uint64_t> size;
  bool sparse = false, bad = false;
  std::uint64_t chain_bytes = 0;
};

// "<length> <key>=<value>\n", repeated.
void read_pax(std::string_view data, Overrides& next) {
  while (!data.empty()) {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(data.data(), data.data() + data.size(), length);
    const auto digits = static_cast<std::size_t>(end - data.data());
    if (error != std::errc() || length < digits + 3 || length > data.size() || *end != ' ' ||
        data[length - 1] != '\n') {
      next.bad = true;
      return;
    }
    const std::string_view record = data.substr(digits + 1, length - digits - 2);
    const auto equals = record.find('=');
    if (equals == std::string_view::npos) {
      next.bad = true;
      return;
    }
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key == "path") next.name = std::string(value);
    if (key == "linkpath") next.link = std::string(value);
    if (key == "size") {
      std::uint64_t size = 0;
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), size);
      if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size()) next.bad = true;
      next.size = size;
    }
    if (key.substr(0, 11) == "GNU.sparse.") next.sparse = true;
    data.remove_prefix(length);
  }
}

std::string ustar_name(std::string_view block) {
  const std::string_view prefix =
      block.substr(257, 6) == std::string_view("ustar\0", 6) ? field(block, 345, 155) : std::string_view();
  std::string name(field(block, 0, 100));
  return prefix.empty() ? name : std::string(prefix) + "/" + name;
}

}  // namespace

struct TarWalk::State {
  State(const io::ByteSource& source, std::function<void(std::uint64_t)> on_progress)
      : tar_(source), size_(source.size()), on_progress_(std::move(on_progress)) {}

  bool stop_truncated() {
    ++scan_.bad["truncated"];
    scan_.cut_short = true;
    return false;
  }

  // One header and what it covers; false at the end.
  bool step() {
    if (at_ > size_) return false;  // the last member's padding is missing, its data are complete
    if (size_ - at_ < kBlock) {
      const std::string_view rest = tar_.view(at_, size_ - at_, block_);
      if (!scan_.is_tar || (!rest.empty() && is_zero(rest))) return false;
      return stop_truncated();  // no end marker
    }
    const std::string_view block = tar_.view(at_, kBlock, block_);
    if (is_zero(block)) {
      if (at_ == 0) scan_.is_tar = true;
      look_behind_end();
      return false;
    }
    if (!checksum_holds(block) || (lost_ && block.substr(257, 5) != "ustar")) return skip_bad_header();
    scan_.is_tar = true;
    lost_ = false;
    const auto size = number(block.substr(124, 12));
    const char type = block[156];
    if (!size) return skip_bad_header();
    const bool meta = type == 'x' || type == 'X' || type == 'g' || type == 'L' || type == 'K';
    const bool has_data = meta || type < '1' || type > '6';  // also of kinds that nobody knows, as tarfile
    const std::uint64_t bytes = !meta && next_.size ? *next_.size : *size;
    const std::uint64_t data_at = at_ + kBlock + (type == 'S' ? more_of_map(block, at_ + kBlock) : 0);
    if (has_data && (data_at > size_ || bytes > size_ - data_at)) return stop_truncated();
    at_ = data_at + (has_data ? (bytes + kBlock - 1) / kBlock * kBlock : 0);
    if (meta) {
      read_meta(type, bytes > kHeaderChainLimit ? std::string_view() : tar_.view(data_at, bytes, block_),
                bytes);
      return true;
    }
    return take(block, type, data_at, bytes);
  }

  void look_behind_end() {
    std::uint64_t at = at_ + kBlock;
    while (at + kBlock <= size_ && is_zero(tar_.view(at, kBlock, block_))) at += kBlock;
    if (at + kBlock > size_) return;
    const std::string_view block = tar_.view(at, kBlock, block_);
    if (checksum_holds(block) && block.substr(257, 5) == "ustar") scan_.second_at = at;
  }

  bool skip_bad_header() {
    if (!scan_.is_tar) return false;
    if (!lost_) ++scan_.bad["bad_header"];
    lost_ = true;
    next_ = {};
    at_ += kBlock;
    return true;
  }

  void read_meta(char type, std::string_view data, std::uint64_t bytes) {
    next_.chain_bytes += kBlock + bytes;
    if (next_.chain_bytes > kHeaderChainLimit) next_.bad = true;
    if (next_.bad || type == 'g') return;
    if (type == 'x' || type == 'X') {  // X: Solaris
      read_pax(data, next_);
    } else {
      (type == 'K' ? next_.link : next_.name) = std::string(data.substr(0, data.find('\0')));
    }
  }

  // Bytes of the blocks with which GNU's sparse header goes on.
  std::uint64_t more_of_map(std::string_view header, std::uint64_t from) const {
    std::string storage;
    std::uint64_t bytes = 0;
    for (bool more = header[482] != '\0'; more && from + bytes + kBlock <= size_; bytes += kBlock)
      more = tar_.view(from + bytes, kBlock, storage)[504] != '\0';
    return bytes;
  }

  bool take(std::string_view block, char type, std::uint64_t data_at, std::uint64_t bytes) {
    const Overrides over = std::exchange(next_, {});
    if (++members_ > kMembersLimit) {
      ++scan_.bad["too_many_members"];
      scan_.cut_short = true;
      return false;
    }
    const bool regular = (type == '0' || type == '\0' || type == '7') && !over.sparse;
    const std::string target = over.link ? *over.link : std::string(field(block, 157, 100));
    TarMember member{over.name ? *over.name : ustar_name(block), data_at, bytes};
    const bool folder = type == '5' || type == 'D' || type == 'V' ||  // GNU's dumped folder, volume label
                        (type == '\0' && !member.name.empty() && member.name.back() == '/');
    if (folder) return true;
    if (type == '1') {
      link(std::move(member), target, data_at - kBlock);
    } else if (!regular) {
      ++scan_.bad[type == '2' ? "symbolic_link" : type == 'S' || over.sparse ? "sparse" : "not_regular"];
    } else if (over.bad || member.name.empty() || member.name.size() > kNameLimit) {
      ++scan_.bad["bad_name"];
    } else if (bytes > kMemberLimit) {
      ++scan_.bad["oversized_member"];
    } else {
      if (known_) (*known_)[member.name] = {member.offset, member.size};
      member_ = std::move(member);
    }
    return true;
  }

  // Where earlier members lie is found out when the first link asks.
  void link(TarMember member, const std::string& target, std::uint64_t header_at) {
    if (!known_) {
      known_.emplace();
      State before(tar_, nullptr);
      before.size_ = header_at;
      before.known_.emplace();
      while (before.step()) before.member_.reset();
      known_ = std::move(before.known_);
    }
    const auto found = known_->find(target);
    if (found == known_->end() || member.name.empty() || member.name.size() > kNameLimit) {
      ++scan_.bad[found == known_->end() ? "broken_link" : "bad_name"];
      return;
    }
    std::tie(member.offset, member.size) = found->second;
    member.hard_link = true;
    (*known_)[member.name] = {member.offset, member.size};
    member_ = std::move(member);
  }

  const io::ByteSource& tar_;
  std::uint64_t size_;
  std::function<void(std::uint64_t)> on_progress_;
  std::string block_;  // where the source does not lie in memory
  std::optional<TarMember> member_;
  std::optional<std::unordered_map<std::string, std::pair<std::uint64_t, std::uint64_t>>> known_;
  TarScan scan_;
  Overrides next_;
  std::uint64_t at_ = 0;
  std::int64_t members_ = 0;
  bool lost_ = false;  // between a damaged header and the next good one
};

TarWalk::TarWalk(const io::ByteSource& tar, std::function<void(std::uint64_t)> on_progress)
    : state_(std::make_unique<State>(tar, std::move(on_progress))) {}
TarWalk::~TarWalk() = default;

std::optional<TarMember> TarWalk::next() {
  State& walk = *state_;
  while (!walk.member_ && walk.step())
    if (walk.on_progress_) walk.on_progress_(std::min(walk.at_, walk.size_));
  return std::exchange(walk.member_, std::nullopt);
}

const TarScan& TarWalk::found() const {
  return state_->scan_;
}

TarScan scan_tar(const io::ByteSource& tar, const std::function<void(const TarMember&)>& on_member,
                 const std::function<void(std::uint64_t)>& on_progress) {
  TarWalk walk(tar, on_progress);
  while (const auto member = walk.next()) on_member(*member);
  return walk.found();
}

TarScan scan_tar(std::string_view tar, const std::function<void(const TarMember&)>& on_member) {
  return scan_tar(io::MemorySource(tar, "tar"), on_member);
}

}  // namespace trireme::store
