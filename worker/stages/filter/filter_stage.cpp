#include "worker/stages/filter/filter_stage.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "common/base/random.h"
#include "common/io/file.h"
#include "jobs/layouts/line_list.h"
#include "jobs/specification/job_spec.h"
#include "worker/data/batches/verdicts.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/stages/filter/cuts_stage.h"
#include "worker/stages/filter/thumbnails.h"

namespace trireme::worker::stages::filter {
namespace {

using Facts = std::vector<SampleFacts>;
using Verdicts = std::vector<Verdict>;

std::unordered_set<std::string> lines_of(const std::string& path) {
  if (path.empty()) return {};
  const auto lines = jobs::read_line_list(path);
  return {lines.begin(), lines.end()};
}

// What a filter that comes before this one kept of the range; its file by the stage's name, or, with "", of
// the stage that is no control's model.
std::optional<data::KeptSamples> kept_before(const runtime::OpenedTask& task, const std::string& stage,
                                             const std::string& other_than) {
  for (const auto& input : task.inputs.all(jobs::Role::kVerdicts))
    if (stage.empty() ? input.stage != other_than : input.stage == stage)
      return data::read_verdicts(input.path);
  return {};
}

void drop(Verdict& verdict, const char* rule) {
  verdict.kept = false;
  verdict.rules.emplace_back(rule);
}

// What a filter before has dropped is not judged again: this one's counts are of its own rules.
void drop_dropped_before(const data::KeptSamples& before, std::int64_t first, Verdicts& verdicts) {
  for (std::size_t i = 0; i < verdicts.size(); ++i)
    if (!std::binary_search(before.kept.begin(), before.kept.end(),
                            static_cast<std::int32_t>(first + static_cast<std::int64_t>(i))))
      verdicts[i] = Verdict{.kept = false, .rules = {"earlier"}};
}

// Of the samples that are still kept, `wanted` with the smallest keyed numbers stay.
void draw(const Facts& facts, std::size_t wanted, std::int64_t seed, Verdicts& verdicts) {
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (std::size_t i = 0; i < facts.size(); ++i) {
    if (!verdicts[i].kept) continue;
    RandomStream random(static_cast<std::uint64_t>(seed), RandomPurpose::kSampleOrder,
                        name_key(facts[i].key));
    order.emplace_back(random.next_u64(), i);
  }
  std::sort(order.begin(), order.end());
  for (std::size_t i = wanted; i < order.size(); ++i) drop(verdicts[order[i].second], "random");
}

// Scores that somebody wrote for this shard speak of every sample of it, or the rule says what those without
// one mean (keep_missing).
void check_scores(const jobs::FilterSettings& settings, const Facts& facts, const Verdicts& verdicts,
                  const std::string& shard) {
  for (const auto& rule : settings.columns) {
    if (rule.sidecar.empty() || !jobs::named_stage(rule.sidecar).empty() || rule.keep_missing) continue;
    std::int64_t missing = 0;
    std::string first;
    for (std::size_t i = 0; i < facts.size(); ++i) {
      const auto found = facts[i].columns.find(rule.name);
      const bool lacks = found == facts[i].columns.end() || found->second.kind == ColumnValue::kMissing;
      const bool gone =
          verdicts[i].rules == std::vector<std::string>{"earlier"} || !facts[i].decode_fault.empty();
      if (lacks && !gone && missing++ == 0) first = facts[i].key;
    }
    if (missing > 0)
      throw Error(ErrorKind::kInvalid,
                  std::to_string(missing)
                      .append(" of ")
                      .append(std::to_string(facts.size()))
                      .append(" samples of ")
                      .append(shard)
                      .append(" have no score \"")
                      .append(rule.name)
                      .append("\" (first: ")
                      .append(first)
                      .append(")"),
                  "score them, or set keep_missing of the rule, which keeps samples without a score");
  }
}

std::map<std::string, std::int64_t> counts_of(const Facts& facts, const Verdicts& verdicts) {
  std::map<std::string, std::int64_t> counts = {
      {"in", static_cast<std::int64_t>(facts.size())}, {"kept", 0}, {"dropped", 0}};
  for (std::size_t i = 0; i < facts.size(); ++i) {
    const Verdict& verdict = verdicts[i];
    ++counts[verdict.kept ? "kept" : "dropped"];
    for (const auto& rule : verdict.rules) ++counts["dropped." + rule];
    if (verdict.rules.size() == 1) ++counts["alone." + verdict.rules.front()];
    if (!facts[i].decode_fault.empty()) ++counts["bad." + facts[i].decode_fault];
    counts["captions.in"] += static_cast<std::int64_t>(facts[i].captions.size());
    counts["captions.kept"] += static_cast<std::int64_t>(verdict.captions.size());
    for (const auto& [rule, count] : verdict.dropped_captions) counts["captions.dropped." + rule] += count;
    for (const auto& [column, count] : verdict.bad_columns) counts["column." + column] += count;
  }
  return counts;
}

void write_verdicts(const std::string& path, std::int64_t first, const Facts& facts,
                    const Verdicts& verdicts) {
  std::string text =
      nlohmann::ordered_json{
          {"format", "trireme-verdicts"}, {"version", 1}, {"first", first}, {"count", facts.size()}}
          .dump() +
      "\n";
  for (std::size_t i = 0; i < facts.size(); ++i)
    text += verdict_line(first + static_cast<std::int64_t>(i), facts[i].key, facts[i], verdicts[i]) + "\n";
  io::write_file_atomic(path, text);
}

}  // namespace

const RuleBook& FilterStage::book_of(const Task& task) {
  auto counts = task.inputs.paths(jobs::Role::kNgramCounts);
  std::sort(counts.begin(), counts.end());
  const auto* cuts = task.inputs.find(jobs::Role::kCuts);
  std::string key = task.message.settings;
  if (cuts != nullptr) key += "\n" + cuts->path;
  for (const auto& path : counts) key += "\n" + path;
  if (book_ && key == book_key_) return *book_;
  RuleBook book(task.settings);
  if (book.settings.max_ngrams) {
    if (counts.empty())
      throw Error(ErrorKind::kInvalid,
                  "stage '" + task.stage() + "' has max_ngrams, but no ngram_counts stage",
                  "add a stage of kind ngram_counts and name it in needs");
    book.ngrams = data::NgramCounts(counts).cut(*book.settings.max_ngrams);
  }
  if (cuts != nullptr) book.cuts = read_cuts(cuts->path);
  book.keep_list = lines_of(book.settings.keep_list);
  book.drop_list = lines_of(book.settings.drop_list);
  book_ = std::move(book);
  book_key_ = key;
  return *book_;
}

jobs::TaskDone FilterStage::work(const Task& task, runtime::TaskContext& context) {
  const RuleBook& book = book_of(task);
  const data::ShardReader shard = task.open_shard();
  const std::int64_t first = task.first(), count = task.size(shard);
  const Facts facts = read_facts(task.inputs.only(jobs::Role::kFacts).path, first, count);
  Verdicts verdicts;
  for (const auto& sample : facts) {
    context.stop->throw_if_stopped();
    verdicts.push_back(judge(sample, book));
  }
  const std::string& like = book.settings.random_like;
  if (const auto before = kept_before(task, "", like)) drop_dropped_before(*before, first, verdicts);
  check_scores(book.settings, facts, verdicts, task.shard().path);
  if (!like.empty()) {
    const auto model = kept_before(task, like, "");
    if (!model)
      throw Error(ErrorKind::kInternal,
                  "stage '" + task.stage() + "' has no verdicts of stage '" + like + "'");
    draw(facts, model->kept.size(), book.settings.seed, verdicts);
  }

  ThumbnailChoice choice;
  for (std::int64_t i = 0; i < count; ++i) choice.offer(first + i, verdicts[static_cast<std::size_t>(i)]);
  jobs::TaskDone result;
  write_verdicts(task.output(), first, facts, verdicts);
  io::write_file_atomic(task.beside(), thumbnail_lines(shard, choice.chosen()));

  result.counts = counts_of(facts, verdicts);
  if (context.progress) context.progress(count, count);
  return result;
}

}  // namespace trireme::worker::stages::filter
