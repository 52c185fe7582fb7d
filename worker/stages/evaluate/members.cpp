#include "worker/stages/evaluate/members.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/io/byte_source.h"
#include "jobs/layouts/member_name.h"
#include "jobs/store/tar_scan.h"

namespace trireme::worker::stages::evaluate {
namespace {

using nlohmann::json;

std::string place_text(const data::ShardReader& reader, const Place& place, const jobs::ShardRef& shard) {
  return "sample " + reader.key(place.sample) + " of " + shard.path;
}

// `visit` sees every place with the reader of its shard; a shard is opened once.
void for_each_place(
    const runtime::OpenedTask& task, const std::string& data, const Places& places,
    const std::function<void(std::size_t, const data::ShardReader&, const jobs::ShardRef&)>& visit) {
  std::map<std::int64_t, const jobs::ShardRef*> shards;
  for (const auto& shard : task.inputs.shards())
    if (shard.data == data) shards[shard.shard] = &shard;
  std::unique_ptr<data::ShardReader> reader;
  std::int64_t open = -1;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const auto found = shards.find(places[i].shard);
    if (found == shards.end())
      throw Error(ErrorKind::kInternal, "embeddings of shard " + std::to_string(places[i].shard) + " of '" +
                                            data + "', which is not among the inputs");
    if (open != places[i].shard) {
      reader = std::make_unique<data::ShardReader>(
          found->second->path, task.inputs.paths(jobs::Role::kShardIndex, *found->second).at(0));
      open = places[i].shard;
    }
    visit(i, *reader, *found->second);
  }
}

json member(const data::ShardReader& reader, const Place& place, const jobs::ShardRef& shard,
            const std::string& field) {
  const json object = json::parse(reader.json(place.sample), nullptr, false);
  const auto found = object.is_object() ? object.find(field) : object.end();
  if (!object.is_object() || found == object.end() || found->is_null())
    throw Error(ErrorKind::kInvalid,
                place_text(reader, place, shard) + " has no member \"" + field + "\" in its .json",
                "name the member that holds it, or give every sample one");
  return *found;
}

std::int64_t class_number(const json& label, const std::vector<std::string>& classes,
                          const std::string& where) {
  std::int64_t number = -1;
  if (label.is_number_integer())
    number = label.get<std::int64_t>();
  else if (label.is_string())
    number = std::ranges::find(classes, label.get<std::string>()) - classes.begin();
  if (number < 0 || number >= static_cast<std::int64_t>(classes.size()))
    throw Error(ErrorKind::kInvalid,
                where + " has label " + label.dump() + ", which is none of the " +
                    std::to_string(classes.size()) + " classes",
                "labels are names of the class list, or numbers from 0");
  return number;
}

// Key of a sample -> the numbers of its .npy, of one tar.
std::map<std::string, std::vector<double>> npy_members(const std::string& path) {
  std::map<std::string, std::vector<double>> found;
  const auto bytes = io::open_source(path);
  store::scan_tar(*bytes, [&](const store::TarMember& one) {
    jobs::MemberName name;
    if (!jobs::split_member(one.name, jobs::KeyRule::kFirstDot, name) || name.suffix != "npy") return;
    std::string storage;
    found[std::string(name.key)] =
        npy_numbers(bytes->view(one.offset, one.size, storage), path + ": " + one.name);
  });
  return found;
}

double number_at(const char* at, char kind, std::int64_t size) {
  const auto as = [&]<class T>(T value) {
    std::memcpy(&value, at, sizeof value);
    return static_cast<double>(value);
  };
  if (kind == 'f') return size == 4 ? as(float{}) : as(double{});
  if (kind == 'u' || kind == 'b')
    return size == 1   ? as(std::uint8_t{})
           : size == 2 ? as(std::uint16_t{})
           : size == 4 ? as(std::uint32_t{})
                       : as(std::uint64_t{});
  return size == 1   ? as(std::int8_t{})
         : size == 2 ? as(std::int16_t{})
         : size == 4 ? as(std::int32_t{})
                     : as(std::int64_t{});
}

}  // namespace

std::vector<std::string> fields_of(const runtime::OpenedTask& task, const std::string& data,
                                   const Places& places, const std::string& field) {
  std::vector<std::string> texts(places.size());
  for_each_place(task, data, places, [&](std::size_t i, const auto& reader, const auto& shard) {
    const json value = member(reader, places[i], shard, field);
    texts[i] = value.is_string() ? value.get<std::string>() : value.dump();
  });
  return texts;
}

std::vector<std::vector<std::string>> lists_of(const runtime::OpenedTask& task, const std::string& data,
                                               const Places& places, const std::string& field) {
  std::vector<std::vector<std::string>> lists(places.size());
  for_each_place(task, data, places, [&](std::size_t i, const auto& reader, const auto& shard) {
    const json value = member(reader, places[i], shard, field);
    for (const auto& one : value.is_array() ? value : json::array({value}))
      lists[i].push_back(one.is_string() ? one.get<std::string>() : one.dump());
  });
  return lists;
}

std::vector<std::string> keys_of(const runtime::OpenedTask& task, const std::string& data,
                                 const Places& places) {
  std::vector<std::string> keys(places.size());
  for_each_place(task, data, places, [&](std::size_t i, const auto& reader, const auto&) {
    keys[i] = reader.key(places[i].sample);
  });
  return keys;
}

std::vector<std::vector<std::string>> captions_of(const runtime::OpenedTask& task, const std::string& data,
                                                  const Places& places) {
  std::vector<std::vector<std::string>> captions(places.size());
  for_each_place(task, data, places, [&](std::size_t i, const auto& reader, const auto&) {
    for (const auto& caption : reader.captions(places[i].sample)) captions[i].emplace_back(caption);
  });
  return captions;
}

at::Tensor labels_of(const runtime::OpenedTask& task, const std::string& data, const Places& places,
                     const std::string& field, const std::vector<std::string>& classes) {
  at::Tensor label_N = at::empty({static_cast<std::int64_t>(places.size())}, at::kLong);
  auto* const rows = label_N.data_ptr<std::int64_t>();
  for_each_place(task, data, places, [&](std::size_t i, const auto& reader, const auto& shard) {
    rows[i] =
        class_number(member(reader, places[i], shard, field), classes, place_text(reader, places[i], shard));
  });
  return label_N;
}

at::Tensor label_sets(const runtime::OpenedTask& task, const std::string& data, const Places& places,
                      const std::string& field, const std::vector<std::string>& classes) {
  const auto count = static_cast<std::int64_t>(classes.size());
  at::Tensor sets = at::zeros({static_cast<std::int64_t>(places.size()), count}, at::kBool);
  bool* const rows = sets.data_ptr<bool>();
  std::map<std::string, std::vector<double>> arrays;
  std::string of;
  for_each_place(task, data, places, [&](std::size_t i, const auto& reader, const auto& shard) {
    bool* const row = rows + static_cast<std::int64_t>(i) * count;
    const std::string where = place_text(reader, places[i], shard);
    if (!field.empty()) {
      const json labels = member(reader, places[i], shard, field);
      for (const auto& label : labels.is_array() ? labels : json::array({labels}))
        row[class_number(label, classes, where)] = true;
      return;
    }
    if (of != shard.path) arrays = npy_members(of = shard.path);
    const auto found = arrays.find(reader.key(places[i].sample));
    if (found == arrays.end())
      throw Error(ErrorKind::kInvalid, where + " has no .npy member with its labels",
                  "name a member of its .json with label_field");
    if (static_cast<std::int64_t>(found->second.size()) != count)
      throw Error(ErrorKind::kInvalid, where + " has " + std::to_string(found->second.size()) +
                                           " labels in its .npy, the set " + std::to_string(count) +
                                           " classes");
    for (std::int64_t c = 0; c < count; ++c) row[c] = found->second[static_cast<std::size_t>(c)] > 0;
  });
  return sets;
}

std::vector<double> npy_numbers(std::string_view bytes, const std::string& what) {
  const auto need = [&](bool fine) {
    if (!fine)
      throw Error(ErrorKind::kDamaged, what + " is no NumPy vector of numbers",
                  "np.save of one row of labels makes one");
  };
  need(bytes.size() > 12 && bytes.starts_with("\x93NUMPY"));
  const bool wide = bytes[6] > 1;
  std::uint32_t length = static_cast<unsigned char>(bytes[8]) | static_cast<unsigned char>(bytes[9]) << 8;
  if (wide)
    length |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[10])) << 16 |
              static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[11])) << 24;
  const std::size_t begin = (wide ? 12U : 10U);
  need(begin + length <= bytes.size());
  const std::string header(bytes.substr(begin, length));
  const std::string_view data = bytes.substr(begin + length);
  const auto descr = header.find("'descr': '");
  need(descr != std::string::npos && descr + 13 < header.size());
  const char order = header[descr + 10], kind = header[descr + 11];
  const std::int64_t size = header[descr + 12] - '0';
  need((order == '<' || order == '|') && std::string_view("iufb").find(kind) != std::string_view::npos &&
       (size == 1 || size == 2 || size == 4 || size == 8) && !(kind == 'f' && size < 4));
  const auto shape = header.find("'shape': (");
  need(shape != std::string::npos);
  const std::string dims = header.substr(shape + 10, header.find(')', shape) - shape - 10);
  const auto comma = dims.find(',');
  need(comma != std::string::npos && dims.find_first_not_of(", ", comma) == std::string::npos);
  const std::int64_t count = static_cast<std::int64_t>(data.size()) / size;
  need(std::to_string(count) == dims.substr(0, comma) &&
       count * size == static_cast<std::int64_t>(data.size()));
  std::vector<double> numbers;
  for (std::int64_t i = 0; i < count; ++i) numbers.push_back(number_at(data.data() + i * size, kind, size));
  return numbers;
}

}  // namespace trireme::worker::stages::evaluate
