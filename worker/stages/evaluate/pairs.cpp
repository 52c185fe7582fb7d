#include <algorithm>
#include <map>
#include <utility>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "worker/evaluation/label_metrics.h"
#include "worker/evaluation/retrieval.h"
#include "worker/stages/evaluate/outcome.h"
#include "worker/text/language.h"

namespace trireme::worker::stages::evaluate {
namespace {

// Languages that cannot be told apart in a few words, and the names that CLIP_benchmark gives.
std::string plain_language(const std::string& name) {
  const std::string base = name.substr(0, name.find('-'));
  for (const auto& [other, plain] :
       {std::pair{"cn", "zh"}, std::pair{"jp", "ja"}, std::pair{"bs", "hr"}, std::pair{"sr", "hr"},
        std::pair{"ms", "id"}, std::pair{"nb", "no"}, std::pair{"nn", "no"}, std::pair{"da", "no"}})
    if (base == other) return plain;
  return base;
}

// Captions in pieces whose language can be told and is not the one that the settings name.
std::int64_t in_another_language(const Task& task, const Inputs& inputs) {
  constexpr std::size_t kPiece = 2000;
  const std::string named = plain_language(task.settings.language);
  std::map<std::string, std::int64_t> found;
  std::string piece;
  std::int64_t pending = 0, all = 0;
  const auto tell = [&] {
    if (pending > 0) found[plain_language(text::language_of(piece))] += pending;
    piece.clear();
    pending = 0;
  };
  for (const auto& captions : captions_of(task, inputs.data, inputs.places))
    for (const auto& caption : captions) {
      piece += caption + "\n";
      ++pending;
      ++all;
      if (piece.size() > kPiece) tell();
    }
  tell();
  found.erase("un");
  found.erase(named);
  std::int64_t others = 0;
  for (const auto& [language, count] : found) others += count;
  if (2 * others <= all) return others;
  const auto most = std::ranges::max_element(found, {}, [](const auto& one) { return one.second; });
  throw Error(ErrorKind::kInvalid,
              std::to_string(others) + " of " + std::to_string(all) + " captions of data set '" +
                  inputs.data + "' are in another language than \"" + task.settings.language + "\", " +
                  std::to_string(most->second) + " of them in \"" + most->first + "\"",
              "name the language that they are in, or the files of that language");
}

}  // namespace

void Outcome::count(const std::string& name, std::int64_t value) {
  result.counts.emplace_back(name, value);
  summary[name] = value;
}

nlohmann::ordered_json json_of(const evaluation::Metrics& metrics) {
  return nlohmann::ordered_json::parse(evaluation::to_json(metrics));
}

std::int64_t not_finite(const at::Tensor& rows_ND) {
  return at::isfinite(rows_ND).all(1).logical_not().sum().item<std::int64_t>();
}

bool asks(const jobs::EvaluateSettings& settings, jobs::AlsoMetric metric) {
  return std::ranges::find(settings.also, metric) != settings.also.end();
}

void need_captions(const Inputs& inputs) {
  if (inputs.features.text.defined() && inputs.features.text.size(0) > 0) return;
  throw Error(ErrorKind::kInvalid,
              "data set '" + inputs.data + "' has neither captions nor labels to compare with",
              "name where its captions stand (caption_field, text_member), or caption it first");
}

Outcome retrieval(const Task& task, const Inputs& inputs) {
  const auto& settings = task.settings;
  const auto& [space, sample, image, text, owner, label] = inputs.features;
  need_captions(inputs);
  Outcome outcome;
  outcome.result.task = "zeroshot_retrieval";
  outcome.result.rules = {kSmallerFirst, kNotFinite};
  std::int64_t tied = 0;
  auto& metrics = outcome.result.metrics;
  if (settings.fold_images) {
    metrics = evaluation::folded_recall(image, text, owner, settings.recall_k, *settings.fold_images, &tied);
    outcome.summary["fold_images"] = *settings.fold_images;
  } else {
    metrics = evaluation::retrieval_recall(image, text, owner, settings.recall_k, &tied);
    outcome.result.chance = evaluation::retrieval_chance(image.size(0), owner, settings.recall_k);
  }
  if (asks(settings, jobs::AlsoMetric::kMeanRecall))
    metrics.emplace_back("mean_recall", evaluation::mean_recall(metrics));
  if (asks(settings, jobs::AlsoMetric::kTextToText)) {
    const auto positives = evaluation::other_captions(owner);
    for (auto& one :
         evaluation::recall_among("text_to_text_recall", text, text, positives, settings.recall_k, &tied))
      metrics.push_back(std::move(one));
  }
  outcome.count("images", image.size(0));
  outcome.count("captions", text.size(0));
  outcome.count("ties", tied);
  outcome.count("not_finite", not_finite(image) + not_finite(text));
  outcome.count("images_without_caption", image.size(0) - std::get<0>(at::_unique2(owner)).size(0));
  if (!settings.language.empty()) outcome.count("another_language", in_another_language(task, inputs));
  return outcome;
}

Outcome choice(const Task& task, const Inputs& inputs) {
  const auto& [space, sample, image, text, owner, label] = inputs.features;
  need_captions(inputs);
  const std::string& field = task.settings.group_field;
  const bool items = !field.empty();
  const auto names = items ? fields_of(task, inputs.data, inputs.places, field) : std::vector<std::string>{};
  std::vector<std::vector<std::int64_t>> captions(static_cast<std::size_t>(image.size(0)));
  for (std::int64_t row = 0; row < text.size(0); ++row)
    captions[static_cast<std::size_t>(owner[row].item<std::int64_t>())].push_back(row);
  std::map<std::string, std::vector<std::int64_t>> groups;  // images of an item
  for (std::size_t i = 0; i < captions.size(); ++i)
    groups[items ? names[i] : std::to_string(i)].push_back(static_cast<std::int64_t>(i));
  std::int64_t right_text = 0, right_image = 0, both = 0, tied = 0;
  for (const auto& [name, images] : groups) {
    std::vector<std::int64_t> texts;
    for (const auto i : images) {
      const auto& own = captions[static_cast<std::size_t>(i)];
      texts.insert(texts.end(), own.begin(), items && !own.empty() ? own.begin() + 1 : own.end());
    }
    if (texts.size() < 2 || (items && (images.size() < 2 || texts.size() != images.size())))
      throw Error(ErrorKind::kInvalid,
                  "item " + name + " of data set '" + inputs.data + "' has " + std::to_string(images.size()) +
                      " pictures and " + std::to_string(texts.size()) + " captions to choose between",
                  "a picture is missing or cannot be decoded: look at the counts of the embed tasks");
    const auto score = image.index_select(0, at::tensor(images, at::kLong))
                           .matmul(text.index_select(0, at::tensor(texts, at::kLong)).t());
    const auto chosen = evaluation::choose(score);
    right_text += chosen.text;
    right_image += chosen.image;
    both += chosen.text && chosen.image;
    tied += chosen.tied;
  }
  Outcome outcome;
  outcome.result.task = "image_caption_selection";
  const auto count = static_cast<double>(groups.size());
  if (items) outcome.result.metrics.emplace_back("image_acc", static_cast<double>(right_image) / count);
  outcome.result.metrics.emplace_back("text_acc", static_cast<double>(right_text) / count);
  outcome.result.metrics.emplace_back("acc", static_cast<double>(items ? both : right_text) / count);
  outcome.count("images", image.size(0));
  outcome.count("items", static_cast<std::int64_t>(groups.size()));
  outcome.count("ties", tied);
  outcome.summary["tie_rule"] = "a tie is wrong";
  outcome.result.rules = {"a tie is wrong"};
  return outcome;
}

}  // namespace trireme::worker::stages::evaluate
