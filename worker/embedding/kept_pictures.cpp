#include "worker/embedding/kept_pictures.h"

#include <sstream>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/data/images/resize.h"

namespace trireme::worker::embedding {
namespace {

constexpr const char* kFormat = "trireme-pictures";

}  // namespace

DecodedPictures decoded_pictures(const data::ShardReader& shard, const std::vector<std::int64_t>& samples,
                                 const jobs::ImagePreprocess& preprocess) {
  const std::int64_t side = preprocess.image_px;
  DecodedPictures made;
  made.pixels = at::empty({static_cast<std::int64_t>(samples.size()), side, side, 3}, at::kByte);
  auto* next = made.pixels.data_ptr<std::uint8_t>();
  std::string storage;
  for (const std::int64_t sample : samples) {
    data::Image picture;
    const auto encoded = data::encoded_picture(shard, sample, storage);
    std::string fault = data::decode_image(encoded.bytes, {.options = encoded.options}, picture);
    if (!fault.empty()) {
      made.faults.emplace_back(sample, std::move(fault));
      continue;
    }
    data::evaluation_pixels(picture, preprocess, next);
    next += side * side * 3;
    made.sample.push_back(sample);
  }
  made.pixels = made.pixels.narrow(0, 0, static_cast<std::int64_t>(made.sample.size()));
  return made;
}

void write_pictures(const io::Path& path, const std::vector<DecodedPictures>& parts,
                    const jobs::ImagePreprocess& preprocess) {
  std::vector<std::int64_t> samples, bad;
  std::vector<at::Tensor> pixels{at::empty({0, preprocess.image_px, preprocess.image_px, 3}, at::kByte)};
  std::string faults;
  for (const auto& part : parts) {
    samples.insert(samples.end(), part.sample.begin(), part.sample.end());
    pixels.push_back(part.pixels);
    for (const auto& [sample, fault] : part.faults) {
      bad.push_back(sample);
      faults += (faults.empty() ? "" : " ") + fault;
    }
  }
  checkpoint::write_safetensors(
      path,
      {{"sample", at::tensor(samples, at::kLong)},
       {"pixels", at::cat(pixels)},
       {"bad", at::tensor(bad, at::kLong)}},
      {{"format", kFormat}, {"geometry", jobs::geometry_text(preprocess)}, {"faults", faults}});
}

bool is_kept_pictures(const checkpoint::SafetensorsFile& file) {
  const auto found = file.metadata().find("format");
  return found != file.metadata().end() && found->second == kFormat;
}

KeptPictures::KeptPictures(const std::vector<std::string>& paths, const jobs::ImagePreprocess& preprocess)
    : preprocess_(preprocess) {
  const std::int64_t side = preprocess.image_px;
  for (const auto& path : paths) {
    checkpoint::SafetensorsFile one{io::Path(path)};
    if (!is_kept_pictures(one)) continue;
    const auto& file = files_.emplace_back(std::move(one));
    const auto said = [&](const char* key) {
      const auto found = file.metadata().find(key);
      return found == file.metadata().end() ? std::string() : found->second;
    };
    const auto need = [&](bool fine, const char* what) {
      if (!fine)
        throw Error(ErrorKind::kDamaged, path + ": " + what, "remove the file so that its task runs again");
    };
    usable_ = said("geometry") == jobs::geometry_text(preprocess);
    if (!usable_) return;
    const at::Tensor sample = file.load("sample"), bad = file.load("bad"), pixels = file.view("pixels");
    need(sample.scalar_type() == at::kLong && bad.scalar_type() == at::kLong &&
             pixels.scalar_type() == at::kByte && pixels.dim() == 4 && pixels.size(0) == sample.numel() &&
             pixels.size(1) == side && pixels.size(2) == side && pixels.size(3) == 3,
         "tensors of another type or shape");
    for (std::int64_t i = 0; i < sample.numel(); ++i)
      pixels_[sample.const_data_ptr<std::int64_t>()[i]] =
          pixels.const_data_ptr<std::uint8_t>() + i * side * side * 3;
    std::istringstream faults(said("faults"));
    for (std::int64_t i = 0; i < bad.numel(); ++i)
      need(static_cast<bool>(faults >> faults_[bad.const_data_ptr<std::int64_t>()[i]]),
           "fewer faults than bad pictures");
  }
}

data::ImageBatch KeptPictures::batch(const std::vector<std::int64_t>& samples) const {
  const std::int64_t side = preprocess_.image_px;
  data::ImageBatch batch;
  const at::Tensor room = at::empty({static_cast<std::int64_t>(samples.size()), 3, side, side}, at::kFloat);
  float* next = room.data_ptr<float>();
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (const auto fault = faults_.find(samples[i]); fault != faults_.end()) {
      batch.faults.emplace_back(i, fault->second);
      continue;
    }
    const auto found = pixels_.find(samples[i]);
    if (found == pixels_.end())
      throw Error(ErrorKind::kInternal,
                  "sample " + std::to_string(samples[i]) + " is not among the kept pictures of its range");
    data::normalize(found->second, side, {preprocess_.mean, preprocess_.std}, next);
    next += 3 * side * side;
    batch.rows.push_back(i);
  }
  batch.image_BCHW = room.narrow(0, 0, static_cast<std::int64_t>(batch.rows.size()));
  return batch;
}

}  // namespace trireme::worker::embedding
