#include "worker/stages/train/objectives/contrastive/concept_rows.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "common/base/error.h"
#include "common/io/file.h"
#include "jobs/specification/stages/concept_stages_spec.h"
#include "jobs/specification/stages/concept_vocabulary.h"
#include "worker/checkpoint/concept_labels.h"
#include "worker/text/parser/caption_concepts.h"

namespace trireme::worker::stages::train {
namespace {

// The file of vocabularies that a stage left.
std::string vocabulary_path(const std::string& stage, const std::vector<jobs::InputsLine>& inputs) {
  for (const auto& line : inputs)
    if (line.input && line.input->role == jobs::Role::kConceptVocabulary && line.input->stage == stage)
      return line.input->path;
  throw Error(ErrorKind::kInternal, "stage '" + stage + "' left no vocabulary among the inputs");
}

// Where the head's vocabulary is a file: that file; else "".
std::string vocabulary_file(const jobs::ConceptHeadSpec& head, const std::vector<jobs::InputsLine>& inputs) {
  if (const auto stage = jobs::named_stage(head.from); !stage.empty()) return vocabulary_path(stage, inputs);
  const auto stage = jobs::named_stage(head.vocabulary_from);
  return stage.empty() ? head.vocabulary_from : vocabulary_path(stage, inputs);
}

struct Expected {
  std::string stage, list, teacher, vocabulary;
};

// What a join found in one data set.
struct Join {
  std::int64_t kept = 0, missing = 0;
  std::map<std::string, std::int64_t> refused;  // samples by reason
  std::string example;

  bool fine() const { return missing == 0 && refused.empty(); }
  [[noreturn]] void fail(const Expected& expected) const {
    std::string text;
    if (missing > 0) text = std::to_string(missing) + " have none";
    for (const auto& [reason, count] : refused)
      text += (text.empty() ? "" : ", ") + std::to_string(count) + " have labels " + reason;
    throw Error(
        ErrorKind::kInvalid,
        "of " + std::to_string(kept) + " samples, joined to the concept labels of stage '" + expected.stage +
            "' by key and hash: " + text + " (" + example + ")",
        "let that stage label what this one trains on (its filter must keep as much), and run it again");
  }
};

// Why a whole file cannot be meant; "" when it can.
std::string refusal(const checkpoint::ConceptLabels& labels, const Expected& expected,
                    const std::string& shard_sha256) {
  if (labels.shard != shard_sha256) return "of another shard";
  if (labels.teacher != expected.teacher) return "of another teacher";
  for (const auto& list : labels.lists)
    if (list.name == expected.list)
      return list.vocabulary == expected.vocabulary ? "" : "over another vocabulary";
  return "without vocabulary '" + expected.list + "'";
}

const checkpoint::ConceptList& list_of(const checkpoint::ConceptLabels& labels, const std::string& name) {
  return *std::ranges::find(labels.lists, name, &checkpoint::ConceptList::name);
}

void note(Join& join, const std::string& reason, const DataShard& shard, std::int64_t sample) {
  if (join.fine()) join.example = "the first: " + shard.reader->key(sample) + " in " + shard.ref.path;
  if (reason.empty())
    ++join.missing;
  else
    ++join.refused[reason];
}

// One file's samples into `rows`; `state` becomes 1 for those that are settled.
void join_file(const checkpoint::ConceptLabels& labels, const Expected& expected, const DataShard& shard,
               std::vector<std::uint8_t>& state, ConceptRows& rows, Join& join) {
  const std::string whole = refusal(labels, expected, shard.ref.sha256);
  const auto settle = [&](std::int64_t sample) {
    const bool wanted = std::binary_search(shard.kept.begin(), shard.kept.end(), sample) &&
                        state[static_cast<std::size_t>(sample)] == 0;
    if (wanted) state[static_cast<std::size_t>(sample)] = 1;
    return wanted;
  };
  if (!whole.empty()) {
    for (std::int64_t sample = labels.first;
         sample < std::min(labels.first + labels.count, shard.ref.samples); ++sample)
      if (settle(sample)) note(join, whole, shard, sample);
    return;
  }
  const auto& list = list_of(labels, expected.list);
  const auto* sample = labels.sample.const_data_ptr<std::int64_t>();
  const auto* key = labels.key.const_data_ptr<std::int64_t>();
  const auto* index = list.index_Nk.const_data_ptr<int>();
  const auto* weight = list.weight_Nk.const_data_ptr<float>();
  const auto k = list.index_Nk.size(1);
  for (std::int64_t row = 0; row < labels.sample.size(0); ++row) {
    if (!settle(sample[row])) continue;
    if (checkpoint::key_hash(shard.reader->key(sample[row])) != key[row]) {
      note(join, "under another key", shard, sample[row]);
      continue;
    }
    data::Concepts concepts;
    for (std::int64_t i = row * k; i < (row + 1) * k && weight[i] > 0; ++i) {
      concepts.index.push_back(index[i]);
      concepts.probability.push_back(static_cast<double>(weight[i]));
    }
    rows.add(sample[row], concepts);
  }
  const auto* bad = labels.bad.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < labels.bad.size(0); ++i) settle(bad[i]);
}

ShardConcepts joined_labels(const DataSet& set, const Expected& expected,
                            const std::vector<jobs::InputsLine>& inputs) {
  ShardConcepts all;
  Join join;
  for (const auto& shard : set.shards) {
    auto rows = std::make_shared<ConceptRows>(shard.ref.samples);
    std::vector<std::uint8_t> state(static_cast<std::size_t>(shard.ref.samples));
    for (const auto& line : inputs)
      if (line.input && line.input->role == jobs::Role::kConcepts && line.input->stage == expected.stage &&
          line.input->data == shard.ref.data && line.input->shard == shard.ref.shard)
        join_file(checkpoint::read_concept_labels(line.input->path), expected, shard, state, *rows, join);
    for (const auto sample : shard.kept)
      if (state[static_cast<std::size_t>(sample)] == 0) note(join, "", shard, sample);
    join.kept += static_cast<std::int64_t>(shard.kept.size());
    all.push_back(std::move(rows));
  }
  if (!join.fine()) join.fail(expected);
  return all;
}

ShardConcepts named_by_captions(const DataSet& set, const jobs::ConceptHeadSpec& head) {
  const text::ConceptReader reader(text::Lexicon::standard());
  data::ConceptPlaces places;
  for (std::size_t i = 0; i < head.vocabulary.size(); ++i)
    places.emplace(head.vocabulary[i], static_cast<std::int64_t>(i));
  ShardConcepts all;
  for (std::size_t s = 0; s < set.shards.size(); ++s) {
    auto rows = std::make_shared<ConceptRows>(set.shards[s].ref.samples);
    for (const auto sample : set.shards[s].kept) {
      data::Concepts concepts;
      std::int64_t beyond = 0;
      const auto named = reader.read(set.captions(s, sample));
      for (const auto& one : head.field == "objects" ? named.objects : named.attributes) {
        const auto place = places.find(one);
        if (place == places.end())
          ++beyond;
        else
          concepts.index.push_back(place->second);
      }
      std::ranges::sort(concepts.index);
      concepts.probability.assign(concepts.index.size(),
                                  1.0 / static_cast<double>(std::max<std::size_t>(1, concepts.index.size())));
      rows->add(sample, concepts, beyond);
    }
    all.push_back(std::move(rows));
  }
  return all;
}

}  // namespace

void ConceptRows::add(std::int64_t sample, const data::Concepts& concepts, std::int64_t beyond_vocabulary) {
  row_of_[static_cast<std::size_t>(sample)] = static_cast<std::int32_t>(first_.size() - 1);
  for (std::size_t i = 0; i < concepts.index.size(); ++i) {
    index_.push_back(static_cast<std::int32_t>(concepts.index[i]));
    weight_.push_back(static_cast<float>(concepts.probability[i]));
  }
  beyond_.push_back(static_cast<std::int32_t>(beyond_vocabulary));
  first_.push_back(index_.size());
}

data::ConceptFault ConceptRows::read(std::int64_t sample, std::int64_t top_k, data::Concepts& concepts,
                                     std::int64_t& beyond) const {
  concepts = {};
  const auto row = row_of_[static_cast<std::size_t>(sample)];
  if (row < 0) return data::ConceptFault::kMissing;
  const auto at = static_cast<std::size_t>(row);
  beyond += beyond_[at];
  std::size_t count = first_[at + 1] - first_[at];
  if (top_k > 0) count = std::min(count, static_cast<std::size_t>(top_k));
  double sum = 0;
  for (std::size_t i = first_[at]; i < first_[at] + count; ++i) {
    concepts.index.push_back(index_[i]);
    concepts.probability.push_back(static_cast<double>(weight_[i]));
    sum += concepts.probability.back();
  }
  for (double& probability : concepts.probability) probability /= sum;
  return count == 0 ? data::ConceptFault::kMissing : data::ConceptFault::kNone;
}

void resolve_vocabularies(jobs::ConceptsSpec& spec, const std::vector<jobs::InputsLine>& inputs) {
  for (auto& head : spec.heads) {
    const std::string path = vocabulary_file(head, inputs);
    if (path.empty()) continue;
    const auto file = jobs::concept_vocabularies_from_json(io::read_file(path), path);
    const auto* list = file.find(head.field);
    if (list == nullptr) {
      std::string names;
      for (const auto& one : file.lists) names += (names.empty() ? "" : ", ") + one.name;
      throw Error(ErrorKind::kInvalid,
                  "head '" + head.name + "': there is no vocabulary '" + head.field + "' in " + path,
                  "set its field to one of: " + names);
    }
    head.vocabulary.clear();
    for (const auto& one : list->concepts) head.vocabulary.push_back(one.name);
    if (head.top_k > list->size() && jobs::named_stage(head.from).empty())
      throw Error(ErrorKind::kInvalid,
                  "head '" + head.name + "': top_k " + std::to_string(head.top_k) +
                      " is beyond the vocabulary of " + std::to_string(list->size()),
                  "at most the size of the vocabulary, or 0 for all");
  }
}

ShardConcepts concept_rows(const DataSet& set, const jobs::ConceptHeadSpec& head,
                           const std::vector<jobs::InputsLine>& inputs) {
  if (head.from == "captions") return named_by_captions(set, head);
  const std::string stage = jobs::named_stage(head.from);
  if (stage.empty()) return {};
  const std::string path = vocabulary_path(stage, inputs);
  const auto file = jobs::concept_vocabularies_from_json(io::read_file(path), path);
  return joined_labels(set, {stage, head.field, file.teacher, checkpoint::vocabulary_hash(head.vocabulary)},
                       inputs);
}

}  // namespace trireme::worker::stages::train
