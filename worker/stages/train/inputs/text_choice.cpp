#include "worker/stages/train/inputs/text_choice.h"

#include <algorithm>

#include "common/base/error.h"
#include "jobs/specification/stages/own_caption.h"
#include "worker/data/shards/sample_fields.h"

namespace trireme::worker::stages::train {
namespace {

void require_own_caption(const DataSet& set, std::int64_t index) {
  const auto has = [&](std::size_t shard, std::int64_t sample) {
    const auto captions = data::captions_of(*set.shards[shard].reader, sample, set.classes, set.templates);
    return static_cast<std::int64_t>(captions.size()) > std::max<std::int64_t>(index, 1);
  };
  if (!set.any_has(has))
    throw Error(ErrorKind::kInvalid,
                "synthetic_caption is \"own:" + std::to_string(index + 1) +
                    "\", and no sample has that many captions and one more",
                "use data with several captions per image");
}

}  // namespace

void require_synthetic_captions(const DataSet& set, const std::string& field) {
  const auto has = [&](std::size_t shard, std::int64_t sample) {
    return !data::text_field(set.shards[shard].reader->json(sample), field).empty();
  };
  if (!set.any_has(has))
    throw Error(ErrorKind::kInvalid,
                "the samples' .json have no synthetic caption in a field '" + field + "'",
                "name the field in synthetic_caption, or set loss.texts to \"raw\"");
}

TextChoice text_choice(const DataSet& set, const jobs::TrainSettings& settings) {
  TextChoice texts;
  texts.raw = settings.loss.texts != jobs::LossTexts::kCaption;
  texts.synthetic = settings.loss.texts != jobs::LossTexts::kRaw;
  if (!texts.synthetic) return texts;
  texts.source = settings.synthetic_caption;
  const std::string stage = jobs::named_stage(texts.source);
  texts.from_stage = !stage.empty();
  if (const auto own = jobs::own_caption(texts.source)) {
    texts.own_caption = *own - 1;
    require_own_caption(set, texts.own_caption);
  } else if (!texts.from_stage) {
    require_synthetic_captions(set, texts.source);
  } else {
    for (const auto& shard : set.shards)
      if (!shard.kept.empty() && !shard.captions)
        throw Error(ErrorKind::kInternal,
                    "there are no captions of stage '" + stage + "' for shard " + shard.ref.path);
  }
  return texts;
}

void ask_for_texts(const TextChoice& texts, const DataSet& set, data::LoaderOptions& options) {
  options.captions = texts.raw;
  options.own_caption = texts.own_caption;
  options.synthetic_caption = texts.source;
  if (!texts.from_stage) return;
  for (const auto& shard : set.shards) options.written_captions.push_back(shard.captions);
}

}  // namespace trireme::worker::stages::train
