#include "worker/stages/filter/rules.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace trireme::worker::stages::filter {
namespace {

std::vector<std::string> image_rules(const SampleFacts& facts, const jobs::FilterSettings& settings) {
  if (!facts.decode_fault.empty()) return {"bad_decode"};
  const auto short_side = std::min(facts.width, facts.height),
             long_side = std::max(facts.width, facts.height);
  std::vector<std::string> rules;
  if (settings.short_side_over_px && short_side <= *settings.short_side_over_px)
    rules.push_back("short_side");
  if (settings.aspect_below &&
      static_cast<double>(long_side) >= *settings.aspect_below * static_cast<double>(short_side)) {
    rules.push_back("aspect");
  }
  return rules;
}

std::vector<std::string> text_rules(const CaptionFacts& caption, const jobs::FilterSettings& settings) {
  std::vector<std::string> rules;
  if (settings.max_images_per_text && caption.images_per_text > *settings.max_images_per_text) {
    rules.push_back("images_per_text");
  }
  if (settings.min_words && caption.words < *settings.min_words) rules.push_back("min_words");
  if (settings.max_words && caption.words > *settings.max_words) rules.push_back("max_words");
  return rules;
}

nlohmann::ordered_json evidence_of(const SampleFacts& facts, const std::string& rule) {
  const auto short_side = std::min(facts.width, facts.height),
             long_side = std::max(facts.width, facts.height);
  auto list = nlohmann::ordered_json::array();
  if (rule == "bad_decode") return facts.decode_fault;
  if (rule == "short_side") return short_side;
  if (rule == "aspect")
    return static_cast<double>(long_side) / static_cast<double>(std::max<std::int64_t>(short_side, 1));
  if (rule == "texts_per_image") return facts.texts_per_image;
  for (const auto& caption : facts.captions) {
    list.push_back(rule == "images_per_text" ? caption.images_per_text : caption.words);
  }
  return list;
}

// Both word rules share one entry.
std::string evidence_name(const std::string& rule) {
  if (rule == "bad_decode") return "reason";
  return rule == "min_words" || rule == "max_words" ? "words" : rule;
}

}  // namespace

Verdict judge(const SampleFacts& facts, const jobs::FilterSettings& settings) {
  Verdict verdict;
  verdict.rules = image_rules(facts, settings);
  if (settings.max_texts_per_image && facts.texts_per_image > *settings.max_texts_per_image) {
    verdict.rules.push_back("texts_per_image");
  }
  for (std::size_t i = 0; i < facts.captions.size(); ++i) {
    const auto failed = text_rules(facts.captions[i], settings);
    if (failed.empty()) verdict.captions.push_back(static_cast<std::int64_t>(i));
    for (const auto& rule : failed) ++verdict.dropped_captions[rule];
  }
  if (!facts.captions.empty() && verdict.captions.empty()) {
    for (const char* rule : {"images_per_text", "min_words", "max_words"}) {
      if (verdict.dropped_captions.contains(rule)) verdict.rules.emplace_back(rule);
    }
  }
  verdict.kept = verdict.rules.empty();
  return verdict;
}

std::string verdict_line(std::int64_t sample, const std::string& key, const SampleFacts& facts,
                         const Verdict& verdict) {
  nlohmann::ordered_json line = {{"sample", sample}, {"key", key}, {"kept", verdict.kept}};
  if (verdict.kept && verdict.captions.size() < facts.captions.size()) line["captions"] = verdict.captions;
  if (!verdict.kept) {
    line["rules"] = verdict.rules;
    for (const auto& rule : verdict.rules) line["evidence"][evidence_name(rule)] = evidence_of(facts, rule);
  }
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace trireme::worker::stages::filter
