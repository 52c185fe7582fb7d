#include "worker/embedding/feature_table.h"

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/embedding/kept_pictures.h"

namespace trireme::worker::embedding {
namespace {

Error damaged(const std::string& path, const std::string& what) {
  return Error(ErrorKind::kDamaged, path + ": " + what, "remove the file so that its embed task runs again");
}

// [n, T] float32; its width must be that of the files before it.
at::Tensor matrix(const checkpoint::SafetensorsFile& file, const std::string& path, const char* name,
                  std::int64_t& width) {
  const at::Tensor rows = file.view(name);
  if (rows.dim() != 2 || rows.scalar_type() != at::kFloat || rows.size(1) == 0 ||
      (width != 0 && width != rows.size(1)))
    throw damaged(path, std::string("features '") + name + "' have another shape or type");
  width = rows.size(1);
  return rows;
}

}  // namespace

FeatureTable::FeatureTable(const std::vector<std::string>& paths, std::int64_t samples)
    : rows_(static_cast<std::size_t>(samples)) {
  files_.reserve(paths.size());
  for (const auto& path : paths) read(path);
}

void FeatureTable::read(const std::string& path) {
  const auto& file = files_.emplace_back(io::Path(path));
  const auto& metadata = file.metadata();
  const auto is = [&](const char* key, const char* value) {
    const auto found = metadata.find(key);
    return found != metadata.end() && found->second == value;
  };
  if (is_kept_pictures(file)) return;
  if (!is("format", "trireme-features")) throw damaged(path, "not a feature file");
  if (is("space", "shared")) return;
  const at::Tensor sample_n = file.load("sample");
  const auto* sample = sample_n.data_ptr<std::int64_t>();
  const auto row_of = [&](std::int64_t i) -> Row& {
    if (sample[i] < 0 || sample[i] >= static_cast<std::int64_t>(rows_.size()))
      throw damaged(path, "sample " + std::to_string(sample[i]) + " is not in the shard");
    return rows_[static_cast<std::size_t>(sample[i])];
  };
  if (file.contains("image")) {
    const at::Tensor image = matrix(file, path, "image", image_width_);
    if (image.size(0) != sample_n.size(0)) throw damaged(path, "one image row per sample is needed");
    for (std::int64_t i = 0; i < image.size(0); ++i)
      row_of(i).image = image.const_data_ptr<float>() + i * image_width_;
  }
  if (file.contains("text")) {
    const at::Tensor text = matrix(file, path, "text", text_width_), owner = file.load("text_owner");
    if (owner.size(0) != text.size(0)) throw damaged(path, "one owner per text row is needed");
    for (std::int64_t i = 0; i < text.size(0); ++i) {
      const auto of = owner.const_data_ptr<std::int64_t>()[i];
      if (of < 0 || of >= sample_n.size(0)) throw damaged(path, "a text row has no owner");
      Row& row = row_of(of);
      if (row.text == nullptr) row.text = text.const_data_ptr<float>() + i * text_width_;
      if (row.text + row.captions * text_width_ != text.const_data_ptr<float>() + i * text_width_)
        throw damaged(path, "the texts of a sample are not in file order");
      ++row.captions;
    }
  }
}

const float* FeatureTable::image(std::int64_t sample) const {
  return rows_[static_cast<std::size_t>(sample)].image;
}

const float* FeatureTable::text(std::int64_t sample, std::int64_t caption) const {
  const Row& row = rows_[static_cast<std::size_t>(sample)];
  return caption < row.captions ? row.text + caption * text_width_ : nullptr;
}

std::int64_t FeatureTable::captions(std::int64_t sample) const {
  return rows_[static_cast<std::size_t>(sample)].captions;
}

}  // namespace trireme::worker::embedding
