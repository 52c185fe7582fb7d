#include "worker/stages/filter/rules.h"

#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

namespace trireme::worker::stages::filter {
namespace {

constexpr const char* kTextRules[] = {"images_per_text", "rare_ngram", "min_words", "max_words",
                                      "language",        "complexity", "action",    "spotted_text"};

void image_rules(const SampleFacts& facts, const jobs::FilterSettings& settings, Verdict& verdict) {
  if (!facts.decode_fault.empty()) {
    verdict.rules.push_back("bad_decode");
    return;
  }
  const auto short_side = std::min(facts.width, facts.height),
             long_side = std::max(facts.width, facts.height);
  if (settings.short_side_over_px && short_side <= *settings.short_side_over_px)
    verdict.rules.push_back("short_side");
  if (settings.aspect_below &&
      static_cast<double>(long_side) >= *settings.aspect_below * static_cast<double>(short_side))
    verdict.rules.push_back("aspect");
}

bool listed(const std::vector<std::string>& list, const std::string& text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

bool passes(const ColumnValue& value, const jobs::ColumnRule& rule, double cut) {
  if (value.kind == ColumnValue::kNumber)
    return value.number >= cut && (!rule.least || value.number >= *rule.least) &&
           (!rule.most || value.number <= *rule.most);
  return (rule.one_of.empty() || listed(rule.one_of, value.text)) && !listed(rule.none_of, value.text);
}

void column_rules(const SampleFacts& facts, const RuleBook& book, Verdict& verdict) {
  for (std::size_t i = 0; i < book.settings.columns.size(); ++i) {
    const jobs::ColumnRule& rule = book.settings.columns[i];
    const auto cut = book.cuts.find(i);
    const auto found = facts.columns.find(rule.name);
    const ColumnValue value = found == facts.columns.end() ? ColumnValue{} : found->second;
    const auto wanted =
        rule.least || rule.most || rule.top_fraction ? ColumnValue::kNumber : ColumnValue::kText;
    bool kept = rule.keep_missing;
    if (value.kind == wanted)
      kept = passes(value, rule,
                    cut == book.cuts.end() ? -std::numeric_limits<double>::infinity() : cut->second);
    else
      ++verdict.bad_columns[rule.name + (value.kind == ColumnValue::kMissing ? ".missing" : ".wrong_type")];
    if (!kept && !listed(verdict.rules, "column." + rule.name))
      verdict.rules.push_back("column." + rule.name);
  }
}

void list_rules(const SampleFacts& facts, const RuleBook& book, Verdict& verdict) {
  const jobs::FilterSettings& settings = book.settings;
  if (settings.keep_list.empty() && settings.drop_list.empty()) return;
  std::string name = facts.key;
  if (settings.list_by != "key") {
    const auto found = facts.columns.find(settings.list_by);
    const bool there = found != facts.columns.end() && found->second.kind == ColumnValue::kText;
    if (!there) ++verdict.bad_columns[settings.list_by + ".missing"];
    name = there ? found->second.text : "";
  }
  if (!settings.keep_list.empty() && !book.keep_list.contains(name)) verdict.rules.push_back("keep_list");
  if (!settings.drop_list.empty() && book.drop_list.contains(name)) verdict.rules.push_back("drop_list");
}

// Most characters in a row that a caption shares with text of enough confidence.
std::int64_t spotted_characters(const SampleFacts& facts, std::size_t caption,
                                const jobs::FilterSettings& settings) {
  std::int64_t most = 0;
  for (const auto& spotted : facts.spotted)
    if (spotted.confidence >= settings.spot_confidence && caption < spotted.overlaps.size())
      most = std::max(most, spotted.overlaps[caption]);
  return most;
}

std::vector<std::string> text_rules(const SampleFacts& facts, std::size_t position, const RuleBook& book) {
  const CaptionFacts& caption = facts.captions[position];
  const jobs::FilterSettings& settings = book.settings;
  std::vector<std::string> rules;
  const auto drop_if = [&](bool drops, const char* rule) {
    if (drops) rules.emplace_back(rule);
  };
  drop_if(settings.max_images_per_text && caption.images_per_text > *settings.max_images_per_text,
          "images_per_text");
  const auto count = static_cast<std::uint64_t>(caption.rarest_count);
  drop_if(!caption.rarest.empty() &&
              ((book.ngrams && !book.ngrams->keeps(count, caption.rarest)) ||
               (settings.min_ngram_count && caption.rarest_count < *settings.min_ngram_count)),
          "rare_ngram");
  drop_if(settings.min_words && caption.words < *settings.min_words, "min_words");
  drop_if(settings.max_words && caption.words > *settings.max_words, "max_words");
  drop_if(!settings.languages.empty() && !listed(settings.languages, caption.language) &&
              !(settings.keep_unknown_language && caption.language == "un"),
          "language");
  const auto complexity =
      settings.count_intransitive ? caption.complexity : caption.complexity_without_intransitive;
  drop_if(settings.min_complexity && complexity < *settings.min_complexity, "complexity");
  drop_if(settings.min_actions && caption.actions < *settings.min_actions, "action");
  drop_if(settings.spotted_text_below &&
              spotted_characters(facts, position, settings) >= *settings.spotted_text_below,
          "spotted_text");
  return rules;
}

nlohmann::ordered_json value_json(const ColumnValue& value) {
  if (value.kind == ColumnValue::kNumber) return value.number;
  if (value.kind == ColumnValue::kText) return value.text;
  if (value.kind == ColumnValue::kOther) return {{"type", value.text}};
  return nullptr;
}

nlohmann::ordered_json caption_evidence(const CaptionFacts& caption, const std::string& rule) {
  if (rule == "images_per_text") return caption.images_per_text;
  if (rule == "rare_ngram") return {caption.rarest, caption.rarest_count};
  if (rule == "language") return caption.language;
  if (rule == "complexity") return {caption.complexity, caption.complexity_without_intransitive};
  if (rule == "action") return caption.actions;
  return caption.words;
}

nlohmann::ordered_json near_evidence(const NearFact& near) {
  if (near.by == "hash") return {near.place, static_cast<std::int64_t>(near.measure)};
  return {near.place, near.measure, near.by};
}

// Null for rules that need none: the lists, earlier, random.
nlohmann::ordered_json evidence_of(const SampleFacts& facts, const std::string& rule) {
  const auto short_side = std::min(facts.width, facts.height),
             long_side = std::max(facts.width, facts.height);
  if (rule == "bad_decode") return facts.decode_fault;
  if (rule == "short_side") return short_side;
  if (rule == "aspect")
    return static_cast<double>(long_side) / static_cast<double>(std::max<std::int64_t>(short_side, 1));
  if (rule == "texts_per_image") return facts.texts_per_image;
  if (rule.starts_with("duplicate_")) return facts.copies.at(rule.substr(10));
  if (rule.starts_with("near_duplicate_")) return near_evidence(facts.near.at(rule.substr(15)));
  if (rule == "against") return near_evidence(*facts.against);
  if (rule == "spotted_text") {
    auto list = nlohmann::ordered_json::array();
    for (const auto& [text, confidence, overlaps] : facts.spotted)
      list.push_back({text, confidence, overlaps});
    return list;
  }
  if (rule.starts_with("column.")) {
    const auto found = facts.columns.find(rule.substr(7));
    if (found == facts.columns.end()) return nullptr;
    return value_json(found->second);
  }
  if (std::find(std::begin(kTextRules), std::end(kTextRules), rule) == std::end(kTextRules)) return nullptr;
  auto list = nlohmann::ordered_json::array();
  for (const auto& caption : facts.captions) list.push_back(caption_evidence(caption, rule));
  return list;
}

// Both word rules share one entry.
std::string evidence_name(const std::string& rule) {
  if (rule == "bad_decode") return "reason";
  return rule == "min_words" || rule == "max_words" ? "words" : rule;
}

}  // namespace

Verdict judge(const SampleFacts& facts, const RuleBook& book) {
  Verdict verdict;
  const jobs::FilterSettings& settings = book.settings;
  image_rules(facts, settings, verdict);
  if (settings.max_texts_per_image && facts.texts_per_image > *settings.max_texts_per_image)
    verdict.rules.push_back("texts_per_image");
  for (const char* family : {"image", "text", "pair"})
    if (listed(settings.unique, family) && facts.copies.contains(family))
      verdict.rules.push_back(std::string("duplicate_") + family);
  for (const char* family : {"image", "embedding", "text"})
    if (listed(settings.near_unique, family) && facts.near.contains(family))
      verdict.rules.push_back(std::string("near_duplicate_") + family);
  if (!settings.against.empty() && facts.against) verdict.rules.push_back("against");
  column_rules(facts, book, verdict);
  list_rules(facts, book, verdict);
  for (std::size_t i = 0; i < facts.captions.size(); ++i) {
    const auto failed = text_rules(facts, i, book);
    if (failed.empty()) verdict.captions.push_back(static_cast<std::int64_t>(i));
    for (const auto& rule : failed) ++verdict.dropped_captions[rule];
  }
  if (!facts.captions.empty() && verdict.captions.empty()) {
    for (const char* rule : kTextRules)
      if (verdict.dropped_captions.contains(rule)) verdict.rules.emplace_back(rule);
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
    for (const auto& rule : verdict.rules)
      if (auto evidence = evidence_of(facts, rule); !evidence.is_null() || rule.starts_with("column."))
        line["evidence"][evidence_name(rule)] = std::move(evidence);
  }
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace trireme::worker::stages::filter
