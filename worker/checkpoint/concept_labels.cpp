#include "worker/checkpoint/concept_labels.h"

#include <charconv>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "common/io/hash.h"
#include "worker/checkpoint/safetensors.h"

namespace trireme::worker::checkpoint {
namespace {

void insist(bool holds, const io::Path& path, const std::string& what) {
  if (holds) return;
  throw Error(ErrorKind::kDamaged, path.string() + ": " + what,
              "remove the file and run the concepts stage again");
}

class LabelMetadata {
 public:
  LabelMetadata(const SafetensorsFile& file, const io::Path& path)
      : metadata_(file.metadata()), path_(path) {}
  std::string text(const std::string& key) const {
    const auto found = metadata_.find(key);
    insist(found != metadata_.end(), path_, "its metadata lack '" + key + "'");
    return found->second;
  }
  std::int64_t number(const std::string& key) const {
    const std::string value = text(key);
    std::int64_t made = -1;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), made);
    insist(error == std::errc() && *end == 0 && made >= 0, path_, "'" + key + "' is no number");
    return made;
  }

 private:
  const std::map<std::string, std::string>& metadata_;
  const io::Path& path_;
};

bool is_positions(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kLong && tensor.dim() == 1;
}

bool inside(const at::Tensor& positions, std::int64_t first, std::int64_t count) {
  if (positions.numel() == 0) return true;
  const auto* at = positions.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < positions.numel(); ++i)
    if (at[i] < first || at[i] >= first + count || (i > 0 && at[i] <= at[i - 1])) return false;
  return true;
}

void check_list(const ConceptList& list, std::int64_t samples, const io::Path& path) {
  const std::string where = "'" + list.name + "': ";
  const bool shapes = list.index_Nk.scalar_type() == at::kInt && list.index_Nk.dim() == 2 &&
                      list.weight_Nk.scalar_type() == at::kFloat &&
                      list.weight_Nk.sizes() == list.index_Nk.sizes() && list.index_Nk.size(0) == samples &&
                      list.mass_N.scalar_type() == at::kFloat && list.mass_N.dim() == 1 &&
                      list.mass_N.size(0) == samples;
  insist(shapes, path, where + "index, weight and mass do not fit one another");
  if (samples == 0) return;
  insist(list.index_Nk.min().item<int>() >= 0 && list.index_Nk.max().item<int>() < list.size, path,
         where + "a concept is outside the vocabulary of " + std::to_string(list.size));
  const bool sums = list.weight_Nk.min().item<float>() >= 0 &&
                    (list.weight_Nk.sum(1) - 1).abs().max().item<float>() < 1e-3F;
  insist(sums, path, where + "weights of a sample do not sum to 1");
}

}  // namespace

std::int64_t key_hash(const std::string& key) {
  return static_cast<std::int64_t>(io::xxh3_64(key));
}

std::string vocabulary_hash(const std::vector<std::string>& concepts) {
  std::string text;
  for (const auto& one : concepts) text += one + '\n';
  return io::hex(io::xxh3_64(text));
}

void write_concept_labels(const io::Path& path, const ConceptLabels& labels) {
  std::vector<std::pair<std::string, at::Tensor>> tensors = {
      {"sample", labels.sample}, {"key", labels.key}, {"bad", labels.bad}};
  std::map<std::string, std::string> metadata = {{"format", "trireme-concept-labels"},
                                                 {"version", "1"},
                                                 {"shard_sha256", labels.shard},
                                                 {"teacher", labels.teacher},
                                                 {"first", std::to_string(labels.first)},
                                                 {"count", std::to_string(labels.count)},
                                                 {"lists", ""}};
  for (const auto& list : labels.lists) {
    tensors.emplace_back(list.name + ".index", list.index_Nk.contiguous());
    tensors.emplace_back(list.name + ".weight", list.weight_Nk.contiguous());
    tensors.emplace_back(list.name + ".mass", list.mass_N.contiguous());
    metadata["lists"] += (metadata["lists"].empty() ? "" : " ") + list.name;
    metadata["vocabulary." + list.name] = list.vocabulary;
    metadata["size." + list.name] = std::to_string(list.size);
  }
  write_safetensors(path, tensors, metadata);
}

ConceptLabels read_concept_labels(const io::Path& path) {
  const SafetensorsFile file(path);
  const LabelMetadata metadata(file, path);
  insist(file.metadata().contains("format") && metadata.text("format") == "trireme-concept-labels" &&
             metadata.text("version") == "1",
         path, "not concept labels of version 1");
  ConceptLabels labels;
  labels.shard = metadata.text("shard_sha256");
  labels.teacher = metadata.text("teacher");
  labels.first = metadata.number("first");
  labels.count = metadata.number("count");
  for (const char* name : {"sample", "key", "bad"})
    insist(file.contains(name), path, std::string("'") + name + "' is missing");
  labels.sample = file.load("sample");
  labels.key = file.load("key");
  labels.bad = file.load("bad");
  insist(is_positions(labels.sample) && is_positions(labels.key) && is_positions(labels.bad) &&
             labels.key.size(0) == labels.sample.size(0) &&
             inside(labels.sample, labels.first, labels.count) &&
             inside(labels.bad, labels.first, labels.count),
         path, "samples and keys do not fit the range");
  const std::string names = metadata.text("lists") + " ";
  for (std::size_t at = 0; at + 1 < names.size();) {
    const auto end = names.find(' ', at);
    ConceptList list{names.substr(at, end - at), "", 0, {}, {}, {}};
    list.vocabulary = metadata.text("vocabulary." + list.name);
    list.size = metadata.number("size." + list.name);
    for (const char* part : {".index", ".weight", ".mass"})
      insist(file.contains(list.name + part), path, "'" + list.name + part + "' is missing");
    list.index_Nk = file.load(list.name + ".index");
    list.weight_Nk = file.load(list.name + ".weight");
    list.mass_N = file.load(list.name + ".mass");
    check_list(list, labels.sample.size(0), path);
    labels.lists.push_back(std::move(list));
    at = end + 1;
  }
  return labels;
}

}  // namespace trireme::worker::checkpoint
