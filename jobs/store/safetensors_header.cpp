#include "jobs/store/safetensors_header.h"

#include <algorithm>
#include <array>
#include <set>
#include <tuple>
#include <unordered_set>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/little_endian.h"

namespace trireme::store {
namespace {

using nlohmann::json;

struct DtypeRow {
  const char* name;
  std::size_t bytes;
};
// In the order of Dtype.
constexpr std::array<DtypeRow, 8> kDtypes{
    {{"F32", 4}, {"F64", 8}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"U8", 1}, {"BOOL", 1}}};

const DtypeRow& row_of(Dtype dtype) {
  return kDtypes[static_cast<std::size_t>(dtype)];
}

[[noreturn]] void damaged(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::kDamaged, path + ": not a valid safetensors file: " + what,
              "copy or download the file again");
}

// What people have under such a name instead.
void refuse_other_file(std::string_view file, const std::string& path) {
  struct Known {
    std::string_view begins, is, hint;
  };
  constexpr std::array<Known, 5> kKnown{
      {{"version https://git-lfs", "a pointer of Git LFS", "git lfs pull gets the file"},
       {"<", "a web page or XML, as a failed download leaves", "download the file again"},
       {"\x89HDF", "an HDF5 file (TensorFlow, Keras)", "get the model as safetensors or PyTorch's"},
       {"GGUF", "a GGUF file", "get the model as safetensors or PyTorch's"},
       {"{", "JSON", "name the weights, not their config"}}};
  for (const Known& one : kKnown)
    if (file.starts_with(one.begins))
      throw Error(ErrorKind::kInvalid, path + " is " + std::string(one.is) + ", not safetensors",
                  std::string(one.hint));
}

// The first key that an object names twice; nlohmann merges those silently, and its parser with a callback
// takes time quadratic in the number of tensors.
class DuplicateKeys final : public nlohmann::json_sax<json> {
 public:
  std::string found;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override {
    keys_.emplace_back();
    return true;
  }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) found = name;
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    return true;
  }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  std::vector<std::unordered_set<std::string>> keys_;
};

json parse_header(std::string_view text, const std::string& path) {
  DuplicateKeys duplicates;
  json header;
  try {
    header = json::parse(text.begin(), text.end());
    json::sax_parse(text.begin(), text.end(), &duplicates);
  } catch (const json::exception& error) {
    damaged(path, std::string("the header is not JSON (") + printable(error.what(), 200) + ")");
  }
  if (!header.is_object()) damaged(path, "the header is not a JSON object");
  if (!duplicates.found.empty())
    damaged(path, "the header names '" + printable(duplicates.found, 200) + "' twice");
  return header;
}

std::map<std::string, std::string> read_metadata(const json& value, const std::string& path) {
  std::map<std::string, std::string> metadata;
  if (!value.is_object()) damaged(path, "__metadata__ is not an object");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) damaged(path, "__metadata__ '" + printable(key, 200) + "' is not a string");
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

std::uint64_t unsigned_number(const json& value, const std::string& path, const std::string& where) {
  if (!value.is_number_unsigned()) damaged(path, where + " is not a whole number >= 0");
  return value.get<std::uint64_t>();
}

Dtype dtype_named(const json& value, const std::string& path, const std::string& where) {
  if (!value.is_string()) damaged(path, where + ": dtype is not a string");
  const std::string name = value.get<std::string>();
  for (std::size_t i = 0; i < kDtypes.size(); ++i)
    if (name == kDtypes[i].name) return static_cast<Dtype>(i);
  throw Error(ErrorKind::kInvalid,
              path + ": " + where + " has the unknown dtype '" + printable(name, 40) + "'",
              "known are F32, F64, F16, BF16, I64, I32, U8 and BOOL");
}

TensorEntry read_entry(const std::string& name, const json& value, const std::string& path) {
  const std::string where = "tensor '" + printable(name, 200) + "'";
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets"))
    damaged(path, where + " needs exactly dtype, shape and data_offsets");
  TensorEntry entry;
  entry.name = name;
  entry.dtype = dtype_named(value["dtype"], path, where);
  const json &shape = value["shape"], &offsets = value["data_offsets"];
  if (!shape.is_array() || shape.size() > 16) damaged(path, where + ": shape is not a list");
  if (!offsets.is_array() || offsets.size() != 2) damaged(path, where + ": data_offsets is not a pair");
  std::uint64_t bytes = bytes_of(entry.dtype);
  std::uint64_t span = 1;  // as if no side were 0: torch multiplies those too, for its strides
  for (const json& extent : shape) {
    const std::uint64_t number = unsigned_number(extent, path, where + ": a shape entry");
    if (number > (std::uint64_t{1} << 48) || __builtin_mul_overflow(bytes, number, &bytes) ||
        __builtin_mul_overflow(span, std::max<std::uint64_t>(number, 1), &span) ||
        span > (std::uint64_t{1} << 56))
      damaged(path, where + ": the shape is too large");
    entry.shape.push_back(static_cast<std::int64_t>(number));
  }
  entry.begin = unsigned_number(offsets[0], path, where + ": data_offsets");
  entry.end = unsigned_number(offsets[1], path, where + ": data_offsets");
  if (entry.end < entry.begin || entry.end - entry.begin != bytes)
    damaged(path, where + ": data_offsets do not fit shape and dtype");
  return entry;
}

void check_layout(std::vector<TensorEntry>& entries, std::uint64_t data_bytes, const std::string& path) {
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::uint64_t at = 0;
  for (const TensorEntry& entry : entries) {
    const std::string where = "tensor '" + printable(entry.name, 200) + "'";
    if (entry.end > data_bytes) damaged(path, where + " reaches beyond the end of the file (truncated?)");
    if (entry.begin < at) damaged(path, where + " overlaps the one before it");
    if (entry.begin > at) damaged(path, "there is a hole before " + where);
    at = entry.end;
  }
  if (at != data_bytes)
    damaged(path, std::to_string(data_bytes - at) + " bytes after the last tensor belong to none");
}

}  // namespace

std::size_t bytes_of(Dtype dtype) {
  return row_of(dtype).bytes;
}

const TensorEntry* SafetensorsHeader::find(std::string_view name) const {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const TensorEntry& entry) { return entry.name == name; });
  return found == entries.end() ? nullptr : &*found;
}

SafetensorsHeader read_safetensors_header(std::string_view file, const std::string& path) {
  if (file.size() < 8) damaged(path, "it has only " + std::to_string(file.size()) + " bytes");
  const auto length = io::get<std::uint64_t>(file, 0);
  if (length > kMostHeaderBytes && (file.starts_with("PK\x03\x04") || file.starts_with("\x80\x02\x8a\x0a")))
    throw Error(ErrorKind::kInvalid, path + " is a PyTorch checkpoint (.pt, .pth), not safetensors",
                "convert it once: trireme weights convert " + path + " OUT.safetensors");
  if (length > kMostHeaderBytes) refuse_other_file(file, path);
  if (length > kMostHeaderBytes)
    damaged(path, "its header claims " + std::to_string(length) + " bytes, more than the format allows");
  if (length > file.size() - 8) damaged(path, "it ends within the header (truncated?)");
  const std::string_view text = file.substr(8, length);
  if (text.empty() || text.front() != '{') damaged(path, "the header does not begin with '{'");
  const json header = parse_header(text, path);
  SafetensorsHeader result;
  result.data_begin = 8 + length;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__")
      result.metadata = read_metadata(value, path);
    else
      result.entries.push_back(read_entry(name, value, path));
  }
  check_layout(result.entries, file.size() - result.data_begin, path);
  return result;
}

std::string make_safetensors_header(std::vector<TensorEntry>& entries,
                                    const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::set<std::string> names{"__metadata__"};
  std::uint64_t at = 0;
  for (TensorEntry& entry : entries) {
    if (!names.insert(entry.name).second)
      throw Error(ErrorKind::kInvalid, "two tensors to be written are called '" + entry.name + "'");
    std::uint64_t bytes = bytes_of(entry.dtype);
    for (const std::int64_t extent : entry.shape) bytes *= static_cast<std::uint64_t>(extent);
    entry.begin = at;
    entry.end = at += bytes;
    header[entry.name] = {{"dtype", row_of(entry.dtype).name},
                          {"shape", entry.shape},
                          {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string out;
  io::put(out, static_cast<std::uint64_t>(text.size()));
  return out + text;
}

}  // namespace trireme::store
