#include "coordinator/planner/sources/tar_look.h"

#include <charconv>
#include <chrono>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "jobs/layouts/leftover.h"
#include "jobs/layouts/member_name.h"
#include "jobs/store/tar_scan.h"

namespace trireme::coordinator::planner {
namespace {

constexpr std::size_t kLaidOut = 64, kMostNames = 200000;
constexpr std::uint64_t kLongestText = 64 << 10;

bool several_lines(std::string_view text) {
  const auto line = text.find('\n');
  return line != std::string_view::npos && text.find_first_not_of("\r\n \t", line) != std::string_view::npos;
}

}  // namespace

std::vector<std::string> numbered_tars(const io::Path& folder) {
  const std::string text = io::read_file(folder / "nshards.txt", 1 << 10);
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || count < 1 || count > 10'000'000)
    throw Error(ErrorKind::kInvalid, (folder / "nshards.txt").string() + " does not hold a number of shards",
                "it says how many of 0.tar, 1.tar … there are");
  std::vector<std::string> tars;
  for (std::int64_t i = 0; i < count; ++i) {
    const io::Path tar = folder / (std::to_string(i) + ".tar");
    if (!io::is_file(tar))
      throw Error(
          ErrorKind::kInvalid,
          tar.string() + " is missing: nshards.txt beside it says " + std::to_string(count) + " shards",
          "fetch it again, or correct nshards.txt");
    tars.push_back(tar.string());
  }
  return tars;
}

bool clip_files_beside(const io::Path& tar) {
  for (const io::Path& folder : {tar.parent_path(), tar.parent_path().parent_path()})
    for (const char* name : {"classnames.txt", "dataset_type.txt"})
      if (io::exists(folder / name)) return true;
  return io::exists(tar.parent_path() / "nshards.txt");
}

TarLook look_at_tar(const io::Path& path, const std::string& text_member) {
  const auto tar = io::open_source(path);
  store::TarWalk walk(*tar);
  const std::string text = text_member.empty() ? "txt" : jobs::lower_case(text_member);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  TarLook look;
  std::string storage;
  while (look.names.size() < kMostNames && std::chrono::steady_clock::now() < end) {
    auto member = walk.next();
    if (!member) {
      look.whole = true;
      break;
    }
    jobs::MemberName split;
    if (look.names.size() < kLaidOut && !jobs::is_leftover(member->name) &&
        jobs::split_member(member->name, jobs::KeyRule::kLastDot, split)) {
      look.labels = look.labels || split.suffix == "cls";
      look.jsons = look.jsons || split.suffix == "json";
      const bool is_text = split.suffix == text || jobs::lower_case(member->name).ends_with("." + text);
      if (is_text && member->size <= kLongestText) {
        ++look.texts;
        look.texts_of_lines += several_lines(tar->view(member->offset, member->size, storage)) ? 1 : 0;
      }
    }
    look.names.push_back(std::move(member->name));
  }
  return look;
}

}  // namespace trireme::coordinator::planner
