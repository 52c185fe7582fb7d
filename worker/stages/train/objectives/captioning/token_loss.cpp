#include "worker/stages/train/objectives/captioning/token_loss.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/data/batches/image_batch.h"
#include "worker/stages/train/objectives/captioning/captioner_model.h"

namespace trireme::worker::stages::train {
namespace {

constexpr std::size_t kChunk = 16;  // pictures; part of the result's bits

}  // namespace

TokenLoss::TokenLoss(const DataSet& set, const models::DualEncoder& encoder, collective::Group& group,
                     SlotPool& pool, std::string device)
    : set_(set),
      encoder_(encoder),
      captioner_(encoder),
      group_(group),
      pool_(pool),
      device_(std::move(device)),
      samples_(set.positions()) {}

evaluation::Metrics TokenLoss::run() {
  const auto chunks = (samples_.size() + kChunk - 1) / kChunk;
  const auto ranks = static_cast<std::size_t>(group_.size());
  const auto per_rank = (chunks + ranks - 1) / ranks;  // rank r has chunks [r * per_rank, …)
  at::Tensor own_C2 = at::zeros({static_cast<std::int64_t>(per_rank), 2}, at::kDouble);
  pool_.for_each(static_cast<std::int64_t>(per_rank), [&](std::int64_t i) {
    const at::NoGradGuard no_grad;
    const auto chunk = static_cast<std::size_t>(group_.rank()) * per_rank + static_cast<std::size_t>(i);
    const auto first = std::min(samples_.size(), chunk * kChunk);
    const Sum sum = of_chunk(first, std::min(samples_.size(), first + kChunk));
    own_C2.data_ptr<double>()[2 * i] = sum.loss;
    own_C2.data_ptr<double>()[2 * i + 1] = sum.tokens;
  });
  const at::Tensor all_C2 = group_.all_gather(own_C2);
  Sum total;  // in chunk order; ranks without chunks add zeros
  for (std::int64_t c = 0; c < all_C2.size(0); ++c) {
    total.loss += all_C2.const_data_ptr<double>()[2 * c];
    total.tokens += all_C2.const_data_ptr<double>()[2 * c + 1];
  }
  if (total.tokens < 1)
    throw Error(ErrorKind::kInvalid, "the evaluation data have no picture with a caption to measure",
                "look at evaluate_every.data");
  return {{"token_loss", total.loss / total.tokens}};
}

TokenLoss::Sum TokenLoss::of_chunk(std::size_t first, std::size_t last) const {
  Sum sum;
  if (first >= last) return sum;
  const auto bytes = [&](std::size_t i, std::string& storage) {
    const auto& sample = samples_[first + i];
    const data::ShardReader& reader = *set_.shards[static_cast<std::size_t>(sample.shard)].reader;
    return data::encoded_picture(reader, sample.sample, storage);
  };
  const auto pictures = data::evaluation_batch(last - first, bytes, encoder_.image_preprocess());
  if (pictures.rows.empty()) return sum;
  const at::Tensor image_BST = encoder_.image_tokens(pictures.image_BCHW.to(device_));
  std::vector<std::vector<std::string>> captions;  // of each row
  std::size_t most = 0;
  for (const std::size_t i : pictures.rows) {
    const auto& sample = samples_[first + i];
    captions.push_back(set_.captions(static_cast<std::size_t>(sample.shard), sample.sample));
    most = std::max(most, captions.back().size());
  }
  for (std::size_t c = 0; c < most; ++c) {  // the c-th captions together
    std::vector<std::int64_t> rows;
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < captions.size(); ++i)
      if (c < captions[i].size()) {
        rows.push_back(static_cast<std::int64_t>(i));
        texts.push_back(captions[i][c]);
      }
    const at::Tensor tokens_BL = captioner_.tokenize(texts).tokens_NL;
    const at::Tensor rows_B = at::tensor(rows, at::kLong).to(device_);
    const auto loss = teacher_forced(captioner_, tokens_BL, image_BST.index_select(0, rows_B), 0);
    sum.loss += loss.sum.item<double>();
    sum.tokens += static_cast<double>(loss.count);
  }
  return sum;
}

}  // namespace trireme::worker::stages::train
