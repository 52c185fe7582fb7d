#include "common/io/machine/gpus.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::io {
namespace {

constexpr std::string_view kSpaces = " \t";

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(kSpaces);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

// "Model: \t NVIDIA H200" and "GPU UUID: \t GPU-1f2e…" of the driver's description.
void describe(const Path& folder, Gpu& gpu) {
  try {
    LineReader information(folder / "information");
    for (std::string line; information.next(line);) {
      if (line.rfind("Model:", 0) == 0) gpu.model = trimmed(line.substr(6));
      if (line.rfind("GPU UUID:", 0) == 0) gpu.uuid = trimmed(line.substr(9));
    }
  } catch (const Error&) {  // then nothing more is known of it
  }
}

// What an entry's digits say, whatever follows them; none for no number and for one below zero.
std::optional<int> number_of(const std::string& entry) {
  int number = -1;
  const char* const begin = entry.data() + (entry.rfind('+', 0) == 0 ? 1 : 0);
  const auto read = std::from_chars(begin, entry.data() + entry.size(), number);
  if (read.ec != std::errc() || number < 0) return {};
  return number;
}

std::optional<Gpu> named(const std::string& entry, bool by_uuid, const std::vector<Gpu>& all) {
  if (!by_uuid) {
    const auto number = number_of(entry);
    if (!number || *number >= static_cast<int>(all.size())) return {};
    return all[static_cast<std::size_t>(*number)];
  }
  std::optional<Gpu> found;
  for (const Gpu& gpu : all) {
    if (entry.rfind("GPU-", 0) != 0 || gpu.uuid.rfind(entry, 0) != 0) continue;
    if (found) return {};  // which of them?
    found = gpu;
  }
  return found;
}

std::string of_this_machine(const std::vector<Gpu>& all) {
  return all.size() == 1 ? "is not this machine's one GPU"
                         : "is none of this machine's " + std::to_string(all.size()) + " GPUs";
}

}  // namespace

std::vector<Gpu> gpus(const Path& root) {
  std::vector<Path> folders = list_folder_if_there(root / "proc/driver/nvidia/gpus");
  std::sort(folders.begin(), folders.end());
  std::vector<Gpu> all;
  for (const Path& folder : folders) {
    all.push_back({static_cast<int>(all.size()), folder.filename().string(), "", ""});
    describe(folder, all.back());
  }
  return all;
}

VisibleGpus visible_gpus(const char* visible, const Path& root) {
  VisibleGpus shown;
  const std::vector<Gpu> all = gpus(root);
  if (visible == nullptr) return {all, false, ""};
  std::string rest = visible;
  const std::string first = trimmed(rest.substr(0, rest.find(',')));
  if (first.empty()) shown.remark = "it is empty";
  shown.instances = first.rfind("MIG-", 0) == 0;
  const bool by_uuid = first.rfind("GPU-", 0) == 0;
  if (all.empty() && !shown.instances) return shown;  // the driver does not list them (WSL)
  while (!rest.empty() && shown.remark.empty()) {
    const std::size_t comma = std::min(rest.size(), rest.find(','));
    const std::string entry = trimmed(rest.substr(0, comma));
    rest.erase(0, comma + 1);
    std::optional<Gpu> gpu;
    if (shown.instances && entry.rfind("MIG-", 0) == 0) gpu = Gpu{-1, "", "", entry};
    if (!shown.instances) gpu = named(entry, by_uuid, all);
    if (!gpu) {
      shown.remark = "'" + entry + "' " + (shown.instances ? "is no MIG-…" : of_this_machine(all));
    } else if (std::any_of(shown.gpus.begin(), shown.gpus.end(), [&](const Gpu& other) {
                 return other.address == gpu->address && other.uuid == gpu->uuid;
               })) {
      shown.gpus.clear();
      shown.remark = "'" + entry + "' is named twice, and CUDA then shows none";
    } else {
      shown.gpus.push_back(*gpu);
    }
  }
  return shown;
}

}  // namespace trireme::io
