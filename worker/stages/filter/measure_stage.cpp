#include "worker/stages/filter/measure_stage.h"

#include <algorithm>
#include <cmath>

#include "common/io/hash.h"
#include "worker/data/batches/image_batch.h"
#include "worker/data/batches/scores.h"
#include "worker/data/images/image.h"
#include "worker/runtime/parallel.h"
#include "worker/spotting/overlap.h"
#include "worker/spotting/spot_text.h"
#include "worker/text/language.h"
#include "worker/text/words.h"

namespace trireme::worker::stages::filter {
namespace {

// Shortest side of the decode for checking, and for reading text.
constexpr std::int64_t kCheckSide = 64, kReadSide = 512;
constexpr double kLeastSpotted = 0.3;  // confidence of text that is noted

using Task = runtime::OpenTask<jobs::MeasureSettings>;

std::vector<std::string> paths_of(const Task& task, jobs::Role role) {
  auto paths = task.inputs.paths(role);
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Every byte of a picture is decoded, as one that opens may still end early; its pixels may be few: for
// spotting half as many a side as it would be read with.
void look_at_image(std::string_view bytes, const data::PictureOptions& options,
                   const jobs::MeasureSettings& settings, data::Image& picture, SampleFacts& facts) {
  data::ImageInfo info;
  facts.decode_fault = data::image_info(bytes, info, options);
  facts.width = info.width;
  facts.height = info.height;
  if (!facts.decode_fault.empty() || !settings.decode) return;
  const std::int64_t side = settings.spot ? std::min({kReadSide, info.width, info.height}) / 2 : kCheckSide;
  const data::DecodeRequest request{.least_side_px = std::max<std::int64_t>(side, 1), .options = options};
  facts.decode_fault = data::decode_image(bytes, request, picture);
}

// Whether the picture may have writing; if so it is decoded as large as it is read.
bool may_be_read(std::string_view bytes, const data::PictureOptions& options, const SampleFacts& facts,
                 data::Image& picture) {
  const bool whole = picture.width == facts.width || std::min(picture.width, picture.height) >= kReadSide;
  if (!spotting::may_have_text(picture.rgb.data(), picture.width, picture.height, whole)) return false;
  return whole ||
         data::decode_image(bytes, {.least_side_px = kReadSide, .options = options}, picture).empty();
}

std::int64_t others(const data::PairCounts* counts, data::PairFamily family, std::string_view bytes) {
  return counts == nullptr ? 1 : static_cast<std::int64_t>(counts->others(family, io::xxh3_128(bytes)));
}

[[noreturn]] void without(const Task& task, const std::string& kind) {
  throw Error(ErrorKind::kInvalid,
              "stage '" + task.stage() + "' has a rule that needs " + kind + ", but no " + kind + " stage",
              "add a stage of kind " + kind + " and name it in needs");
}

using Scores = std::vector<std::unordered_map<std::string, double>>;

std::string scores_of_stage(const Task& task, const std::string& stage) {
  for (const auto& input : task.inputs.all(jobs::Role::kScores))
    if (input.stage == stage) return input.path;
  throw Error(ErrorKind::kInternal,
              "stage '" + task.stage() + "' was given no scores of stage '" + stage + "'");
}

Scores scores_of(const Task& task) {
  const auto& settings = task.settings;
  Scores scores;
  const jobs::ShardRef& shard = task.shard();
  for (std::size_t i = 0; i < settings.scores.size(); ++i) {
    const std::string& name = settings.scores[i];
    const std::string& folder = settings.score_folders[i];
    const std::string stage = jobs::named_stage(folder);
    scores.push_back(stage.empty()
                         ? data::read_scores(data::score_path(folder, name, shard.path), name, shard.sha256)
                         : data::read_scores(scores_of_stage(task, stage), data::kSimilarity, shard.sha256));
  }
  return scores;
}

// The first of its equals, unless it is the sample itself.
std::map<std::string, std::string> copies_of(const Task& task, std::int64_t sample, std::string_view image,
                                             const std::vector<std::string>& captions,
                                             const std::vector<std::string>& families,
                                             const data::Duplicates& duplicates) {
  std::vector<std::string> normalized;
  for (const auto& caption : captions) normalized.push_back(text::normalized_text(caption));
  const auto hashes = data::sample_hashes(image, normalized);
  std::map<std::string, std::string> out;
  for (const auto& name : families) {
    const data::SameIn family = data::same_in_from_name(name);
    const auto& hash = hashes[static_cast<std::size_t>(family)];
    const auto first = hash ? duplicates.find(family, *hash) : std::nullopt;
    if (!first) continue;
    const bool itself =
        first->data == task.shard().data && first->shard == task.shard().shard && first->sample == sample;
    if (!itself)
      out[name] = first->data + "/" + std::to_string(first->shard) + "/" + std::to_string(first->sample);
  }
  return out;
}

// What the clusters that `unique` asks for were made by.
std::string clusters_of(const std::string& unique) {
  const auto by = jobs::near_duplicates_by(unique);
  return by ? std::string(name_of(*by)) : "";
}

void find_near(const Task& task, std::int64_t sample, const data::NearClusters& clusters,
               SampleFacts& facts) {
  const auto& settings = task.settings;
  const std::string place =
      task.shard().data + "/" + std::to_string(task.shard().shard) + "/" + std::to_string(sample);
  for (const auto& unique : settings.near)
    if (const auto kept = clusters.kept_for(clusters_of(unique), place)) facts.near[unique] = *kept;
  if (!settings.against.empty()) facts.against = clusters.match_in(place, settings.against);
}

void spot(const data::Image& picture, const std::vector<std::string>& captions, Spotters& spotters,
          SampleFacts& facts) {
  auto spotter = spotters.take();
  for (const auto& [text, confidence] :
       spotting::spot_text(picture.rgb.data(), picture.width, picture.height, *spotter, kLeastSpotted)) {
    auto& fact = facts.spotted.emplace_back();
    fact.text = text;
    fact.confidence = std::round(confidence * 1000) / 1000;
    for (const auto& caption : captions)
      fact.overlaps.push_back(spotting::longest_common_characters(text, caption));
  }
  spotters.give_back(std::move(spotter));
}

}  // namespace

std::unique_ptr<spotting::Spotter> Spotters::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      auto spotter = std::move(free_.back());
      free_.pop_back();
      return spotter;
    }
  }
  return std::make_unique<spotting::Spotter>();
}

void Spotters::give_back(std::unique_ptr<spotting::Spotter> spotter) {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(spotter));
}

template <class Artifact>
const Artifact* OpenedOnce<Artifact>::open(std::vector<std::string> paths) {
  if (paths != paths_) {
    artifact_ = paths.empty() ? nullptr : std::make_unique<Artifact>(paths);
    paths_ = std::move(paths);
  }
  return artifact_.get();
}
template class OpenedOnce<data::NgramCounts>;

CaptionFacts caption_facts(const std::string& caption, const jobs::MeasureSettings& settings,
                           const data::PairCounts* pairs, const data::NgramCounts* ngrams,
                           const text::CaptionParser* parser) {
  CaptionFacts facts;
  const auto words = text::unigrams(caption);
  facts.words = static_cast<std::int64_t>(words.size());
  if (pairs != nullptr)
    facts.images_per_text = others(pairs, data::PairFamily::kText, text::normalized_text(caption));
  if (settings.language) facts.language = text::language_of(caption);
  if (ngrams != nullptr) {
    auto rarest = ngrams->rarest(words);
    facts.rarest_count = static_cast<std::int64_t>(rarest.count);
    facts.rarest = std::move(rarest.ngram);
  }
  if (settings.parse && parser != nullptr) {
    thread_local text::ParsedCaption parsed;
    parser->parse(caption, parsed);
    facts.complexity = text::complexity(parsed, true);
    facts.complexity_without_intransitive = text::complexity(parsed, false);
    facts.actions = static_cast<std::int64_t>(parsed.actions.size());
  }
  return facts;
}

jobs::TaskDone MeasureStage::work(const Task& task, runtime::TaskContext& context) {
  const auto& settings = task.settings;
  const auto* pairs = pairs_.open(paths_of(task, jobs::Role::kPairCounts));
  const auto* ngrams = ngrams_.open(paths_of(task, jobs::Role::kNgramCounts));
  const auto* duplicates = duplicates_.open(paths_of(task, jobs::Role::kDuplicates));
  if (settings.pairs && pairs == nullptr) without(task, "pair_counts");
  if (settings.ngrams && ngrams == nullptr) without(task, "ngram_counts");
  if (!settings.unique.empty() && duplicates == nullptr) without(task, "duplicates");
  const auto* clusters = clusters_.open(paths_of(task, jobs::Role::kNearClusters));
  const auto missing = [&](const std::string& unique) {
    return clusters == nullptr || !clusters->has(clusters_of(unique));
  };
  if (std::ranges::any_of(settings.near, missing) ||
      (!settings.against.empty() && missing("image") && missing("embedding")))
    without(task, "near_duplicates");
  if (settings.parse && parser_ == nullptr)
    parser_ = std::make_unique<text::CaptionParser>(text::Lexicon::standard());
  const Scores scores = scores_of(task);
  const data::ShardReader shard = task.open_shard();
  const data::PictureOptions options = data::picture_options(shard);
  const std::int64_t first = task.first(), count = task.size(shard);
  std::vector<SampleFacts> samples(static_cast<std::size_t>(count));
  runtime::parallel_for(
      count, context.threads, context.stop,
      [&](std::int64_t i) {
        SampleFacts& facts = samples[static_cast<std::size_t>(i)];
        facts.key = shard.key(first + i);
        std::string storage;
        const std::string_view image = shard.image_bytes(first + i, storage);
        data::Image picture;
        look_at_image(image, options, settings, picture, facts);
        facts.texts_per_image = others(pairs, data::PairFamily::kImage, image);
        const auto captions = shard.captions(first + i);
        for (const auto& caption : captions)
          facts.captions.push_back(caption_facts(caption, settings, pairs, ngrams, parser_.get()));
        if (settings.spot && facts.decode_fault.empty() && may_be_read(image, options, facts, picture))
          spot(picture, captions, spotters_, facts);
        facts.columns = column_values(shard.json(first + i), settings.columns);
        for (std::size_t s = 0; s < scores.size(); ++s) {
          ColumnValue& value = facts.columns[settings.scores[s]];
          const auto found = scores[s].find(facts.key);
          if (found != scores[s].end()) value = {ColumnValue::kNumber, found->second, ""};
        }
        if (!settings.unique.empty())
          facts.copies = copies_of(task, first + i, image, captions, settings.unique, *duplicates);
        if (clusters != nullptr) find_near(task, first + i, *clusters, facts);
      },
      [&](std::int64_t done) {
        if (context.progress) context.progress(done, count);
      });
  io::write_file_atomic(task.output(), facts_file(first, samples));
  jobs::TaskDone result;
  result.counts = {{"measured", count}};

  return result;
}

}  // namespace trireme::worker::stages::filter
