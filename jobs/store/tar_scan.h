// Walks the headers of a tar, wherever its bytes lie: ustar, GNU long names, PAX path and size. Nothing is
// extracted; every size is checked against the bytes that are there before it is used (RELIABILITY 5:
// members <= 64 MiB, header chains <= 1 MiB, <= 1 M members, names <= 4 KiB). Never throws on damage.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/io/byte_source.h"

namespace trireme::store {

struct TarMember {
  std::string name;
  std::uint64_t offset = 0, size = 0;  // of the data, within the tar
  bool hard_link = false;              // the data are those of an earlier member, as tarfile reads it
};

struct TarScan {
  bool is_tar = false;  // the first block is a tar header (or an empty archive's zero block)
  bool cut_short = false;
  std::uint64_t second_at =
      0;  // where another archive begins behind the end marker (cat a.tar b.tar); 0: none
  // "truncated" (member data or end marker missing), "oversized_member", "symbolic_link", "broken_link" (a
  // hard link to no earlier member), "sparse", "not_regular" (devices and what else has no bytes of its own),
  // "bad_header" (checksum; the walk goes on at the next good header), "bad_name", "too_many_members".
  std::map<std::string, std::int64_t> bad;
};

// One member after another, so that a caller can stop early.
class TarWalk {
 public:
  // `tar` must outlive the walk. `on_progress` (may be null) gets the offset reached, header after header.
  explicit TarWalk(const io::ByteSource& tar, std::function<void(std::uint64_t)> on_progress = nullptr);
  ~TarWalk();
  std::optional<TarMember> next();  // the next whole regular file, or hard link to one; nothing at the end
  const TarScan& found() const;     // so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// All of it: `on_member` for every whole regular file, in order.
TarScan scan_tar(const io::ByteSource& tar, const std::function<void(const TarMember&)>& on_member,
                 const std::function<void(std::uint64_t)>& on_progress = nullptr);
TarScan scan_tar(std::string_view tar, const std::function<void(const TarMember&)>& on_member);

}  // namespace trireme::store
