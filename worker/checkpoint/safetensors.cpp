#include "worker/checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/nearest_name.h"
#include "common/io/folder.h"
#include "common/io/machine/aside.h"
#include "jobs/store/safetensors_header.h"
#include "worker/checkpoint/wrapper_names.h"
#include "worker/kernels/threads.h"

namespace trireme::worker::checkpoint {
namespace {

constexpr std::int64_t kReadAtOnce = std::int64_t{4} << 20;  // by each of torch's threads
constexpr std::size_t kMostParts = 1000;                     // files of one checkpoint

using store::SafetensorsHeader;
using store::TensorEntry;

// In the order of store::Dtype.
constexpr std::array kScalarTypes{at::kFloat, at::kDouble, at::kHalf, at::kBFloat16,
                                  at::kLong,  at::kInt,    at::kByte, at::kBool};

at::ScalarType scalar_type(const TensorEntry& entry) {
  return kScalarTypes[static_cast<std::size_t>(entry.dtype)];
}

store::Dtype dtype_of(const std::string& name, at::ScalarType type) {
  const auto* const found = std::find(kScalarTypes.begin(), kScalarTypes.end(), type);
  if (found == kScalarTypes.end())
    throw Error(
        ErrorKind::kInvalid,
        "tensor '" + name + "' has a dtype that safetensors files here do not hold: " + c10::toString(type));
  return static_cast<store::Dtype>(found - kScalarTypes.begin());
}

}  // namespace

// One file of a checkpoint.
struct SafetensorsPart {
  explicit SafetensorsPart(const io::Path& path)
      : map(path), file(path), header(store::read_safetensors_header(map.text(), path.string())) {}

  void read(const TensorEntry& entry, void* to) const {
    const auto bytes = static_cast<std::int64_t>(entry.end - entry.begin);
    kernels::over_threads(
        0, (bytes + kReadAtOnce - 1) / kReadAtOnce, [&](std::int64_t first, std::int64_t last) {
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

  const std::uint8_t* data(const TensorEntry& entry) const {
    return map.bytes().data() + header.data_begin + entry.begin;
  }

  io::MappedFile map;
  io::FileReader file;
  SafetensorsHeader header;
};

namespace {

// The files of an index and the tensors that each must hold.
std::map<std::string, std::set<std::string>> read_index(const io::Path& path) {
  const auto damaged = [&](const std::string& what) {
    return Error(ErrorKind::kDamaged, path.string() + ": not an index of safetensors files: " + what,
                 "copy or download the file again");
  };
  const auto root = nlohmann::json::parse(io::read_file(path, store::kMostHeaderBytes), nullptr, false);
  if (!root.is_object() || !root.contains("weight_map") || !root["weight_map"].is_object() ||
      root["weight_map"].empty())
    throw damaged("it has no weight_map");
  std::map<std::string, std::set<std::string>> files;
  for (const auto& [name, file] : root["weight_map"].items()) {
    if (!file.is_string()) throw damaged("'" + printable(name, 100) + "' lies in no file");
    const std::string text = file.get<std::string>();
    if (text.empty() || text.front() == '.' || text.find('/') != std::string::npos)
      throw damaged("'" + printable(text, 100) + "' is no plain file name");
    files[text].insert(name);
  }
  if (files.size() > kMostParts) throw damaged("it names " + std::to_string(files.size()) + " files");
  return files;
}

}  // namespace

struct SafetensorsFile::State {
  void add(const io::Path& file) {
    parts.push_back(std::make_unique<SafetensorsPart>(file));
    for (std::size_t i = 0; i < parts.back()->header.entries.size(); ++i)
      places.push_back({parts.size() - 1, i});
  }

  void name_all() {
    for (std::size_t i = 0; i < places.size(); ++i)
      if (const std::string& name = entry(places[i]).name; !name.empty() && !by_name.emplace(name, i).second)
        throw Error(ErrorKind::kDamaged,
                    path.string() + ": two of its files hold '" + printable(name, 100) + "'");
  }

  void add_index() {
    for (const auto& [file, names] : read_index(path)) {
      add(path.parent_path() / file);
      std::set<std::string> there;
      for (const TensorEntry& one : parts.back()->header.entries) there.insert(one.name);
      if (there != names)
        throw Error(ErrorKind::kDamaged,
                    path.string() + ": " + file + " holds other tensors than the index says",
                    "copy or download all files of the checkpoint again");
    }
  }

  void unwrap() {
    std::vector<std::string> names;
    for (const Place& place : places) names.push_back(entry(place).name);
    const UnwrappedNames plain = unwrapped(names, path.string());
    for (std::size_t i = 0; i < places.size(); ++i) entry(places[i]).name = plain.names[i];
    std::erase_if(places, [&](const Place& place) { return entry(place).name.empty(); });
    if (!plain.left.empty())
      remark = "taken are " + plain.taken + ", not the averaged copy '" + plain.left + ".'";
  }

  struct Place {
    std::size_t part = 0, index = 0;
  };
  TensorEntry& entry(const Place& place) { return parts[place.part]->header.entries[place.index]; }

  const Place& find(const std::string& name) {
    const auto found = by_name.find(name);
    if (found != by_name.end()) return places[found->second];
    std::vector<std::string> known;
    for (const Place& place : places) known.push_back(entry(place).name);
    const std::string near = nearest_name(name, known);
    throw Error(ErrorKind::kNotFound, path.string() + ": there is no tensor '" + name + "'",
                near.empty() ? "" : "the nearest name is '" + near + "'");
  }

  io::Path path;
  std::vector<std::unique_ptr<SafetensorsPart>> parts;
  std::vector<Place> places;
  std::unordered_map<std::string, std::size_t> by_name;
  std::string remark;
};

SafetensorsFile::SafetensorsFile(const io::Path& path) : state_(std::make_unique<State>()) {
  state_->path = path;
  state_->add(path);
  state_->name_all();
}
SafetensorsFile::SafetensorsFile(std::unique_ptr<State> state) : state_(std::move(state)) {}

SafetensorsFile SafetensorsFile::of_checkpoint(const io::Path& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  if (path.string().ends_with(".index.json"))
    state->add_index();
  else
    state->add(path);
  state->unwrap();
  state->name_all();
  return SafetensorsFile(std::move(state));
}

const std::string& SafetensorsFile::remark() const {
  return state_->remark;
}

SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  names.reserve(state_->places.size());
  for (const auto& place : state_->places) names.push_back(state_->entry(place).name);
  return names;
}

bool SafetensorsFile::contains(const std::string& name) const {
  return state_->by_name.count(name) > 0;
}

at::Tensor SafetensorsFile::load(const std::string& name) const {
  const State::Place& place = state_->find(name);
  const TensorEntry& entry = state_->entry(place);
  at::Tensor tensor = at::empty(entry.shape, scalar_type(entry));
  state_->parts[place.part]->read(entry, tensor.data_ptr());
  if (entry.dtype == store::Dtype::kBool)
    tensor = tensor.view(at::kByte) != 0;  // any byte but 0 and 1 is undefined
  return tensor;
}

void SafetensorsFile::read_into(const std::string& name, at::Tensor& target) const {
  const State::Place& place = state_->find(name);
  const TensorEntry& entry = state_->entry(place);
  if (!target.is_cpu() || !target.is_contiguous() || target.scalar_type() != scalar_type(entry) ||
      target.sizes() != at::IntArrayRef(entry.shape))
    throw Error(ErrorKind::kInternal, "tensor '" + name + "' is read into memory of another kind");
  state_->parts[place.part]->read(entry, target.data_ptr());
}

at::Tensor SafetensorsFile::view(const std::string& name) const {
  const State::Place& place = state_->find(name);
  const TensorEntry& entry = state_->entry(place);
  const std::uint8_t* const data = state_->parts[place.part]->data(entry);
  const bool aligned = reinterpret_cast<std::uintptr_t>(data) % store::bytes_of(entry.dtype) == 0;
  if (!aligned || entry.begin == entry.end || entry.dtype == store::Dtype::kBool) return load(name);
  return at::from_blob(const_cast<std::uint8_t*>(data), entry.shape, scalar_type(entry));
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return state_->parts.front()->header.metadata;
}

void write_safetensors(const io::Path& path, const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata, bool durable) {
  std::vector<TensorEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.device().is_cpu())
      throw Error(ErrorKind::kInternal, "tensor '" + name + "' must be on the CPU to be written");
    entries.push_back({name, dtype_of(name, tensor.scalar_type()), tensor.sizes().vec(), 0, 0});
  }
  const std::string header = store::make_safetensors_header(entries, metadata);
  const io::Path aside = io::aside_of(path);
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
