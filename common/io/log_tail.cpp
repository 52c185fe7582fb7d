#include "common/io/log_tail.h"

#include <algorithm>
#include <vector>

#include "common/base/error.h"
#include "common/io/folder.h"

namespace trireme::io {
namespace {

constexpr std::uint64_t kMostAtStart = 1U << 20;
constexpr std::uint64_t kMostPerCall = 256U << 10;

// What can be read of it: a log may be gone the next moment.
std::string read_range(const Path& file, std::uint64_t first, std::uint64_t bytes) {
  std::string text(bytes, '\0');
  try {
    text.resize(FileReader(file).read_at(first, text));
  } catch (const Error&) {
    text.clear();
  }
  return text;
}

std::uint64_t bytes_of(const Path& file) {
  try {
    return size_of(file);
  } catch (const Error&) {
    return 0;
  }
}

int rank_of(const Path& file) {
  const std::string name = file.filename().string();
  if (name.rfind("rank-", 0) != 0 || file.extension() != ".log") return -1;
  const std::string digits = name.substr(5, name.size() - 9);
  if (digits.empty() || digits.size() > 8 || digits.find_first_not_of("0123456789") != std::string::npos)
    return -1;
  return std::stoi(digits);
}

}  // namespace

LogTail::LogTail(Path folder, int rank, std::int64_t last_lines)
    : folder_(std::move(folder)), rank_(rank), last_lines_(last_lines) {}

std::uint64_t LogTail::start_of(const Path& file) const {
  const std::uint64_t size = bytes_of(file);
  const std::uint64_t first = size > kMostAtStart ? size - kMostAtStart : 0;
  const std::string text = read_range(file, first, size - first);
  std::size_t at = 0;
  if (first > 0) at = std::min(text.size(), text.find('\n') + 1);  // drop the line cut in two
  if (last_lines_ >= 0) {
    const auto lines = std::count(text.begin() + static_cast<std::ptrdiff_t>(at), text.end(), '\n');
    for (auto skip = lines - last_lines_; skip > 0; --skip) at = text.find('\n', at) + 1;
  }
  return first + at;
}

std::string LogTail::next() {
  std::vector<std::pair<int, Path>> files;
  for (const auto& path : list_folder_if_there(folder_)) {
    const int rank = rank_of(path);
    if (rank >= 0 && (rank_ < 0 || rank == rank_)) files.emplace_back(rank, path);
  }
  std::sort(files.begin(), files.end());
  std::string lines;
  for (const auto& [rank, file] : files) {
    const auto [known, fresh] = read_.try_emplace(file, 0);
    if (fresh) known->second = start_of(file);
    const std::uint64_t size = bytes_of(file);
    if (size <= known->second) continue;
    std::string text = read_range(file, known->second, std::min(size - known->second, kMostPerCall));
    const std::size_t whole = text.rfind('\n') + 1;  // npos + 1 = 0: no whole line yet
    if (whole > 0 || text.size() < kMostPerCall) text.resize(whole);
    known->second += text.size();
    lines += text;
  }
  return lines;
}

}  // namespace trireme::io
