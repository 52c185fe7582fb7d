#include "jobs/specification/checks/check_filter.h"

#include <algorithm>
#include <functional>
#include <set>

#include "jobs/specification/json/names.h"

namespace trireme::jobs {
namespace {

class FilterChecker {
 public:
  FilterChecker(const PipelineSpec& spec, const std::string& at, const std::vector<const StageSpec*>& needs,
                std::vector<SpecFault>& faults)
      : spec_(spec), here_(at), needs_(needs), faults_(faults) {}

  void check(const FilterSettings& s) {
    if (s.min_words && s.max_words && *s.min_words > *s.max_words)
      fault(here_ + "/max_words", "invalid", "is below min_words");
    const bool counted = tallied<PairCountsSettings>(s.data);
    const auto needs_counts = [&](const auto& field, const char* name) {
      if (field && !counted)
        fault(here_ + "/" + name, "invalid", "needs a pair_counts stage over the same data",
              "add one, and its name to \"needs\"");
    };
    needs_counts(s.max_images_per_text, "max_images_per_text");
    needs_counts(s.max_texts_per_image, "max_texts_per_image");
    if ((s.max_ngrams || s.min_ngram_count) && !tallied<NgramCountsSettings>(s.data))
      fault(here_ + (s.max_ngrams ? "/max_ngrams" : "/min_ngram_count"), "invalid",
            "needs an ngram_counts stage over the same data", "add one, and its name to \"needs\"");
    if (!s.unique.empty() && !tallied<DuplicatesSettings>(s.data))
      fault(here_ + "/unique", "invalid", "needs a duplicates stage over the same data",
            "add one, and its name to \"needs\"");
    check_near(s);
    check_lists(s);
    check_columns(s);
    if (s.random_like.empty()) return;
    const bool known = std::ranges::any_of(needs_, [&](const StageSpec* need) {
      const auto* other = std::get_if<FilterSettings>(&need->settings);
      return other != nullptr && need->name == s.random_like &&
             std::ranges::all_of(s.data, [&](const auto& name) {
               return std::ranges::find(other->data, name) != other->data.end();
             });
    });
    if (!known)
      fault(here_ + "/random_like", "unknown_name",
            "no filter stage " + quoted(s.random_like) + " over the same data is among the needs",
            "name the stage whose size the control shall have, here and in \"needs\"");
  }

 private:
  static bool has(const std::string& one, const std::string& name) { return one == name; }
  static bool has(const std::vector<std::string>& names, const std::string& name) {
    return std::ranges::find(names, name) != names.end();
  }

  void fault(const std::string& pointer, const std::string& code, const std::string& detail,
             const std::string& hint = "") {
    add_fault(faults_, {pointer, code, detail, hint});
  }

  // Whether a tally of that kind over all of this data comes before (and fits).
  template <class Tally>
  bool tallied(
      const std::vector<std::string>& data,
      const std::function<bool(const Tally&)>& fits = [](const Tally&) { return true; }) const {
    return std::ranges::any_of(needs_, [&](const StageSpec* need) {
      const auto* tally = std::get_if<Tally>(&need->settings);
      return tally != nullptr && fits(*tally) && std::ranges::all_of(data, [&](const auto& name) {
               return std::ranges::find(tally->data, name) != tally->data.end();
             });
    });
  }

  void check_near(const FilterSettings& s) {
    const auto not_again = [&](const std::vector<std::string>& list, const char* field, const auto& good) {
      for (std::size_t i = 0; i < list.size(); ++i) {
        const std::string pointer = here_ + "/" + field + "/" + std::to_string(i);
        good(list[i], pointer);
        if (std::find(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(i), list[i]) !=
            list.begin() + static_cast<std::ptrdiff_t>(i))
          fault(pointer, "duplicate_name", "listed twice");
      }
    };
    std::vector<std::string> compared = s.data;
    compared.insert(compared.end(), s.against.begin(), s.against.end());
    const auto clusters = [&](NearBy by) {
      return tallied<NearDuplicatesSettings>(
          by == NearBy::kCaption ? s.data : compared,
          [&](const NearDuplicatesSettings& near) { return near.by == by; });
    };
    const std::string and_of = s.against.empty() ? "" : " and those of against";
    not_again(s.near_unique, "near_unique", [&](const std::string& name, const std::string& pointer) {
      const auto by = near_duplicates_by(name);
      if (!by) return fault(pointer, "invalid", quoted(name) + " is not image, embedding or text");
      if (!clusters(*by))
        fault(pointer, "invalid",
              "needs a near_duplicates stage by " + std::string(name_of(*by)) + " over the same data" +
                  (*by == NearBy::kCaption ? "" : and_of),
              "add one, and its name to \"needs\"");
    });
    not_again(s.against, "against", [&](const std::string& name, const std::string& pointer) {
      if (!spec_.data.contains(name)) fault(pointer, "unknown_name", "there is no data set " + quoted(name));
      if (std::ranges::find(s.data, name) != s.data.end())
        fault(pointer, "invalid", quoted(name) + " is filtered itself");
    });
    if (!s.against.empty() && !clusters(NearBy::kHash) && !clusters(NearBy::kEmbedding))
      fault(here_ + "/against", "invalid",
            "needs a near_duplicates stage by hash or embedding over the same data and those of against",
            "add one, and its name to \"needs\"");
  }

  void check_lists(const FilterSettings& s) {
    std::set<std::string> seen;
    for (std::size_t i = 0; i < s.unique.size(); ++i) {
      const std::string pointer = here_ + "/unique/" + std::to_string(i);
      if (s.unique[i] != "image" && s.unique[i] != "text" && s.unique[i] != "pair")
        fault(pointer, "invalid", quoted(s.unique[i]) + " is not image, text or pair");
      if (!seen.insert(s.unique[i]).second) fault(pointer, "duplicate_name", "listed twice");
    }
    for (std::size_t i = 0; i < s.languages.size(); ++i)
      if (s.languages[i].empty() || s.languages[i].size() > 8)
        fault(here_ + "/languages/" + std::to_string(i), "invalid",
              quoted(s.languages[i]) + " is no language code", "for example en, de, zh-Hant");
  }

  void check_columns(const FilterSettings& s) {
    for (std::size_t i = 0; i < s.columns.size(); ++i) {
      const ColumnRule& rule = s.columns[i];
      const std::string pointer = here_ + "/columns/" + std::to_string(i);
      if (!rule.least && !rule.most && !rule.top_fraction && rule.one_of.empty() && rule.none_of.empty())
        fault(pointer, "invalid", "the rule has no limit",
              "set least, most, top_fraction, one_of or none_of");
      if (rule.least && rule.most && *rule.least > *rule.most)
        fault(pointer + "/most", "invalid", "is below least");
      if (!rule.sidecar.empty() && (!rule.one_of.empty() || !rule.none_of.empty()))
        fault(pointer, "invalid", "a score is a number", "use least and most");
      if (rule.top_fraction && *rule.top_fraction <= 0)
        fault(pointer + "/top_fraction", "out_of_range", "keeps nothing", "give a share above 0");
      check_scored(s, rule, pointer + "/sidecar");
      if (rule.name == s.list_by && !rule.sidecar.empty())
        fault(pointer + "/name", "duplicate_name", quoted(rule.name) + " is also the column of list_by",
              "give the scores another name");
      for (std::size_t other = 0; other < i; ++other)
        if (s.columns[other].name == rule.name && s.columns[other].sidecar != rule.sidecar)
          fault(pointer + "/name", "duplicate_name",
                quoted(rule.name) + " is also the name of rule " + std::to_string(other) +
                    ", of another source",
                rule.sidecar.starts_with("stage:") ? "give the scores of the stage a name of their own"
                                                   : "one of the two needs another name");
      if (!rule.sidecar.empty() && !good_name(rule.name, true))
        fault(pointer + "/name", "invalid", quoted(rule.name) + " is no name of a score",
              "use letters, digits, '_', '-' and '.'");
    }
  }

  // Scores that a stage makes: it comes before, over the same data.
  void check_scored(const FilterSettings& s, const ColumnRule& rule, const std::string& pointer) {
    const std::string name = named_stage(rule.sidecar);
    if (name.empty()) {
      if (std::ranges::find(spec_.stages, rule.sidecar, &StageSpec::name) != spec_.stages.end())
        fault(pointer, "invalid", quoted(rule.sidecar) + " is a stage, and stands for a folder here",
              "write \"stage:" + rule.sidecar + "\"");
      return;
    }
    const auto need = std::ranges::find(needs_, name, &StageSpec::name);
    if (need == needs_.end() || (*need)->kind() != ColumnRule::kScoredBy)
      return fault(
          pointer, "unknown_name",
          std::string("no ") + ColumnRule::kScoredBy + " stage " + quoted(name) + " is among the needs",
          "name it here and in \"needs\"");
    for (const auto& data : s.data)
      if (!std::visit([&](const auto& scores) { return has(scores.data, data); }, (*need)->settings))
        fault(pointer, "invalid", "stage " + quoted(name) + " does not score data set " + quoted(data),
              "add it to the stage's \"data\"");
  }

  const PipelineSpec& spec_;
  const std::string& here_;
  const std::vector<const StageSpec*>& needs_;
  std::vector<SpecFault>& faults_;
};

}  // namespace

void check_filter(const PipelineSpec& spec, const FilterSettings& settings, const std::string& at,
                  const std::vector<const StageSpec*>& needs, std::vector<SpecFault>& faults) {
  FilterChecker(spec, at, needs, faults).check(settings);
}

}  // namespace trireme::jobs
