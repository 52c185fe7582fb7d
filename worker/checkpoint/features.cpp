#include "worker/checkpoint/features.h"

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/checkpoint/safetensors.h"

namespace trireme::worker::checkpoint {
namespace {

void require(bool holds, const io::Path& path, const std::string& what) {
  if (holds) return;
  throw Error(ErrorKind::kDamaged, path.string() + ": " + what,
              "remove the file and run the embed stage again");
}

bool is_list(const at::Tensor& tensor, std::int64_t length) {
  return tensor.scalar_type() == at::kLong && tensor.dim() == 1 && tensor.size(0) == length;
}

void check(const Features& f, const io::Path& path) {
  require(f.sample.scalar_type() == at::kLong && f.sample.dim() == 1, path,
          "'sample' is not a list of int64");
  const auto samples = f.sample.size(0);
  const auto is_matrix = [](const at::Tensor& t) { return t.scalar_type() == at::kFloat && t.dim() == 2; };
  require(!f.image.defined() || (is_matrix(f.image) && f.image.size(0) == samples), path,
          "'image' does not have one float32 row per sample");
  require(!f.label.defined() || is_list(f.label, samples), path,
          "'label' does not have one int64 per sample");
  require(f.text.defined() == f.text_owner.defined(), path, "'text' and 'text_owner' come together");
  if (!f.text.defined()) return;
  require(is_matrix(f.text) && is_list(f.text_owner, f.text.size(0)), path,
          "'text' and 'text_owner' do not fit one another");
  if (f.text.size(0) == 0) return;
  require(f.text_owner.min().item<std::int64_t>() >= 0 && f.text_owner.max().item<std::int64_t>() < samples,
          path, "a caption's owner is outside the samples");
}

// Rows of one field of all parts; undefined when no part has it.
at::Tensor joined(const std::vector<Features>& parts, at::Tensor Features::*field, const char* name) {
  std::vector<at::Tensor> rows;
  for (const auto& part : parts) {
    const at::Tensor& tensor = part.*field;
    if (tensor.defined() != (parts.front().*field).defined() ||
        (tensor.defined() && tensor.dim() == 2 && tensor.size(1) != (parts.front().*field).size(1))) {
      throw Error(ErrorKind::kInvalid, std::string("features of different models: '") + name +
                                           "' is missing or of another width in one of them");
    }
    if (tensor.defined()) rows.push_back(tensor);
  }
  return rows.empty() ? at::Tensor() : at::cat(rows);
}

}  // namespace

void write_features(const io::Path& path, const Features& features) {
  std::vector<std::pair<std::string, at::Tensor>> tensors = {{"sample", features.sample}};
  const auto add = [&](const char* name, const at::Tensor& tensor) {
    if (tensor.defined()) tensors.emplace_back(name, tensor.contiguous());
  };
  add("image", features.image);
  add("text", features.text);
  add("text_owner", features.text_owner);
  add("label", features.label);
  write_safetensors(path, tensors,
                    {{"format", "trireme-features"}, {"version", "1"}, {"space", features.space}});
}

Features read_features(const io::Path& path) {
  const SafetensorsFile file(path);
  const auto& metadata = file.metadata();
  const auto entry = [&](const char* key) {
    const auto found = metadata.find(key);
    return found == metadata.end() ? std::string() : found->second;
  };
  require(entry("format") == "trireme-features" && entry("version") == "1", path,
          "not features of version 1");
  require(file.contains("sample"), path, "'sample' is missing");
  const auto load = [&](const char* name) { return file.contains(name) ? file.load(name) : at::Tensor(); };
  Features features{entry("space"), load("sample"),     load("image"),
                    load("text"),   load("text_owner"), load("label")};
  require(features.space == "tower" || features.space == "shared", path, "its space is unknown");
  check(features, path);
  return features;
}

Features concatenate(const std::vector<Features>& parts) {
  if (parts.empty()) return {};
  std::vector<Features> shifted = parts;
  std::int64_t rows = 0;
  for (auto& part : shifted) {
    if (part.space != parts.front().space) {
      throw Error(ErrorKind::kInvalid, "features of different spaces cannot be put together");
    }
    if (part.text_owner.defined()) part.text_owner = part.text_owner + rows;
    rows += part.sample.size(0);
  }
  return {parts.front().space,
          joined(shifted, &Features::sample, "sample"),
          joined(shifted, &Features::image, "image"),
          joined(shifted, &Features::text, "text"),
          joined(shifted, &Features::text_owner, "text_owner"),
          joined(shifted, &Features::label, "label")};
}

}  // namespace trireme::worker::checkpoint
