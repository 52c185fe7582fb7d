#include "common/io/machine/numa.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/machine/gpus.h"

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
  std::vector<std::int64_t> nodes;
  for (const Gpu& gpu : visible_gpus(visible, root).gpus) {
    const std::string node =
        gpu.address.empty() ? "" : first_line(root / "sys/bus/pci/devices" / gpu.address / "numa_node");
    nodes.push_back(node.empty() ? -1 : std::atoll(node.c_str()));
  }
  return nodes;
}

}  // namespace trireme::io
