#include "coordinator/planner/tar_layout.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <string>

namespace trireme::coordinator::planner {
namespace {

constexpr std::size_t kBlock = 512;
constexpr int kMembers = 64;
constexpr std::uint64_t kLongestText = 64 << 10;

struct Member {
  std::string suffix;  // of the name, lower case, from its last dot
  std::uint64_t bytes = 0;
  bool file = false;
};

bool parse_header(const std::array<char, kBlock>& block, Member& member) {
  if (std::string_view(block.data() + 257, 5) != "ustar") return false;
  const std::string name(block.data(), std::find(block.data(), block.data() + 100, '\0'));
  const char* digits = block.data() + 124;
  while (*digits == ' ') ++digits;
  if (std::from_chars(digits, block.data() + 136, member.bytes, 8).ec != std::errc()) return false;
  const std::size_t dot = name.rfind('.');
  member.suffix = dot == std::string::npos ? "" : name.substr(dot);
  std::ranges::transform(member.suffix, member.suffix.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  member.file = block[156] == '0' || block[156] == '\0';
  return true;
}

}  // namespace

bool looks_like_clip_benchmark(const io::Path& tar) {
  std::ifstream in(tar, std::ios::binary);
  std::array<char, kBlock> block{};
  bool several_lines = false;
  for (int i = 0; i < kMembers && in.read(block.data(), kBlock); ++i) {
    Member member;
    if (!parse_header(block, member)) break;
    const std::uint64_t padded = (member.bytes + kBlock - 1) / kBlock * kBlock;
    if (member.file && member.suffix == ".cls") return true;
    if (member.file && member.suffix == ".json") return false;
    if (member.file && member.suffix == ".txt" && member.bytes <= kLongestText) {
      std::string text(padded, '\0');
      in.read(text.data(), static_cast<std::streamsize>(padded));
      text.resize(member.bytes);
      const std::size_t line = text.find('\n');
      several_lines = several_lines || (line != std::string::npos &&
                                        text.find_first_not_of("\r\n \t", line) != std::string::npos);
    } else {
      in.seekg(static_cast<std::streamoff>(padded), std::ios::cur);
    }
  }
  return several_lines;
}

}  // namespace trireme::coordinator::planner
