#include "common/io/machine/numa.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::io {
namespace {

// "" for what cannot be read.
std::string first_line(const Path& file) {
  try {
    const std::string text = read_file(file, 4096);
    return text.substr(0, text.find('\n'));
  } catch (const Error&) {
    return "";
  }
}

// Of "GPU UUID:        GPU-1f2e…" in the driver's description.
std::string uuid_of(const Path& gpu) {
  try {
    LineReader information(gpu / "information");
    for (std::string line; information.next(line);)
      if (line.rfind("GPU UUID:", 0) == 0) return line.substr(std::min(line.size(), line.find("GPU-", 9)));
  } catch (const Error&) {
  }
  return "";
}

// Position of the GPU that `wanted` names, -1 for none.
int position_of(const std::string& wanted, const std::vector<Path>& gpus) {
  int number = -1;
  const auto [end, failure] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), number);
  if (failure == std::errc() && end == wanted.data() + wanted.size())
    return number >= 0 && number < static_cast<int>(gpus.size()) ? number : -1;
  for (std::size_t i = 0; i < gpus.size(); ++i)
    if (wanted.rfind("GPU-", 0) == 0 && uuid_of(gpus[i]).rfind(wanted, 0) == 0) return static_cast<int>(i);
  return -1;
}

}  // namespace

std::vector<int> parse_core_list(std::string_view text) {
  std::vector<int> cores;
  while (!text.empty()) {
    const std::string_view piece = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), piece.size() + 1));
    int first = 0;
    auto [end, failure] = std::from_chars(piece.data(), piece.data() + piece.size(), first);
    if (failure != std::errc()) return {};
    int last = first;
    if (end != piece.data() + piece.size() &&
        (*end != '-' || std::from_chars(end + 1, piece.data() + piece.size(), last).ec != std::errc()))
      return {};
    if (last - first > 65536) return {};
    for (int core = first; core <= last; ++core) cores.push_back(core);
  }
  return cores;
}

std::vector<std::vector<int>> numa_nodes(const Path& root) {
  std::map<int, std::vector<int>> found;
  for (const auto& entry : list_folder_if_there(root / "sys/devices/system/node")) {
    const std::string name = entry.filename().string();
    int number = -1;
    if (name.rfind("node", 0) != 0 ||
        std::from_chars(name.data() + 4, name.data() + name.size(), number).ptr !=
            name.data() + name.size() ||
        number < 0)
      continue;
    found[number] = parse_core_list(first_line(entry / "cpulist"));
  }
  std::vector<std::vector<int>> nodes;
  for (auto& [number, cores] : found) {
    nodes.resize(static_cast<std::size_t>(number) + 1);  // a node that was taken offline leaves a gap
    nodes.back() = std::move(cores);
  }
  return nodes;
}

std::vector<std::int64_t> gpu_numa_nodes(const char* visible, const Path& root) {
  std::vector<Path> gpus = list_folder_if_there(root / "proc/driver/nvidia/gpus");
  std::sort(gpus.begin(), gpus.end());
  std::vector<std::int64_t> all;
  for (const auto& gpu : gpus) {
    const std::string node = first_line(root / "sys/bus/pci/devices" / gpu.filename() / "numa_node");
    all.push_back(node.empty() ? -1 : std::atoll(node.c_str()));
  }
  if (visible == nullptr) return all;
  std::vector<std::int64_t> chosen;
  for (std::string rest = visible; !rest.empty();) {
    const std::size_t comma = std::min(rest.size(), rest.find(','));
    const int position = position_of(rest.substr(0, comma), gpus);
    if (position < 0) break;
    chosen.push_back(all[static_cast<std::size_t>(position)]);
    rest.erase(0, comma + 1);
  }
  return chosen;
}

}  // namespace trireme::io
