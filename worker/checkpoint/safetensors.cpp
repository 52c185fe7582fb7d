#include "worker/checkpoint/safetensors.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <unordered_map>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "common/base/error.h"
#include "common/base/nearest_name.h"
#include "common/io/folder.h"
#include "worker/checkpoint/safetensors_header.h"

namespace trireme::worker::checkpoint {
namespace {

constexpr std::int64_t kReadAtOnce = std::int64_t{4} << 20;  // by each of torch's threads

}  // namespace

struct SafetensorsFile::State {
  explicit State(const io::Path& path) : map(path), file(path) {
    header = read_safetensors_header(map.text(), path.string());
    for (std::size_t i = 0; i < header.entries.size(); ++i) by_name[header.entries[i].name] = i;
  }

  void read(const TensorEntry& entry, void* to) const {
    const auto bytes = static_cast<std::int64_t>(entry.end - entry.begin);
    at::parallel_for(
        0, (bytes + kReadAtOnce - 1) / kReadAtOnce, 1, [&](std::int64_t first, std::int64_t last) {
          const std::int64_t begin = first * kReadAtOnce, end = std::min(bytes, last * kReadAtOnce);
          read_part(entry, static_cast<char*>(to) + begin, begin, end - begin);
        });
  }

  // A file that is cut meanwhile gives kDamaged where the map would end the program.
  void read_part(const TensorEntry& entry, char* to, std::int64_t first, std::int64_t bytes) const {
    const std::uint64_t place = header.data_begin + entry.begin + static_cast<std::uint64_t>(first);
    if (file.read_at(place, {to, static_cast<std::size_t>(bytes)}) < static_cast<std::size_t>(bytes))
      throw Error(
          ErrorKind::kDamaged,
          map.path().string() + ": tensor '" + entry.name + "' cannot be read: the file has become shorter",
          "copy or download the file again");
  }

  const TensorEntry& find(const std::string& name) const {
    const auto found = by_name.find(name);
    if (found != by_name.end()) return header.entries[found->second];
    std::vector<std::string> known;
    for (const TensorEntry& entry : header.entries) known.push_back(entry.name);
    const std::string near = nearest_name(name, known);
    throw Error(ErrorKind::kNotFound, map.path().string() + ": there is no tensor '" + name + "'",
                near.empty() ? "" : "the nearest name is '" + near + "'");
  }

  const std::uint8_t* data(const TensorEntry& entry) const {
    return map.bytes().data() + header.data_begin + entry.begin;
  }

  io::MappedFile map;
  io::FileReader file;
  SafetensorsHeader header;
  std::unordered_map<std::string, std::size_t> by_name;
};

SafetensorsFile::SafetensorsFile(const io::Path& path) : state_(std::make_unique<State>(path)) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const TensorEntry& entry : state_->header.entries) names.push_back(entry.name);
  return names;
}

bool SafetensorsFile::contains(const std::string& name) const {
  return state_->by_name.count(name) > 0;
}

at::Tensor SafetensorsFile::load(const std::string& name) const {
  const TensorEntry& entry = state_->find(name);
  at::Tensor tensor = at::empty(entry.shape, entry.dtype);
  state_->read(entry, tensor.data_ptr());
  if (entry.dtype == at::kBool) tensor = tensor.view(at::kByte) != 0;  // any byte but 0 and 1 is undefined
  return tensor;
}

void SafetensorsFile::read_into(const std::string& name, at::Tensor& target) const {
  const TensorEntry& entry = state_->find(name);
  if (!target.is_cpu() || !target.is_contiguous() || target.scalar_type() != entry.dtype ||
      target.sizes() != at::IntArrayRef(entry.shape))
    throw Error(ErrorKind::kInternal, "tensor '" + name + "' is read into memory of another kind");
  state_->read(entry, target.data_ptr());
}

at::Tensor SafetensorsFile::view(const std::string& name) const {
  const TensorEntry& entry = state_->find(name);
  const std::uint8_t* const data = state_->data(entry);
  const bool aligned = reinterpret_cast<std::uintptr_t>(data) % c10::elementSize(entry.dtype) == 0;
  if (!aligned || entry.begin == entry.end || entry.dtype == at::kBool) return load(name);
  return at::from_blob(const_cast<std::uint8_t*>(data), entry.shape, entry.dtype);
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return state_->header.metadata;
}

void write_safetensors(const io::Path& path, const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata, bool durable) {
  std::vector<TensorEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.device().is_cpu())
      throw Error(ErrorKind::kInternal, "tensor '" + name + "' must be on the CPU to be written");
    entries.push_back({name, tensor.scalar_type(), tensor.sizes().vec(), 0, 0});
  }
  const std::string header = make_safetensors_header(entries, metadata);
  static std::atomic<unsigned> counter{0};
  io::Path aside = path;
  aside += ".tmp-" + std::to_string(::getpid()) + "-st" + std::to_string(counter++);
  if (path.has_parent_path()) io::make_folders(path.parent_path());
  try {
    io::FileWriter writer(aside);
    writer.write(header);
    for (const auto& [name, tensor] : tensors) {
      const at::Tensor whole = tensor.detach().contiguous();
      if (whole.nbytes() > 0)
        writer.write({static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()});
    }
    writer.finish(durable);
    durable ? io::rename_durably(aside, path) : io::rename_file(aside, path);
  } catch (...) {
    io::remove_file(aside);
    throw;
  }
}

}  // namespace trireme::worker::checkpoint
