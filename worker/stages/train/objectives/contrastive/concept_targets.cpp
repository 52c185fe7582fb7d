#include "worker/stages/train/objectives/contrastive/concept_targets.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "common/base/error.h"

namespace trireme::worker::stages::train {
namespace {

data::ConceptFault read(const DataSet& set, std::size_t shard, std::int64_t sample,
                        const ConceptSource& source, data::Concepts& concepts, std::int64_t& beyond) {
  if (!source.rows.empty()) return source.rows[shard]->read(sample, source.top_k, concepts, beyond);
  return data::concept_field(set.shards[shard].reader->json(sample), source.field, source.places,
                             source.top_k, concepts, beyond);
}

// body(sample's place in `times`, concept of all vocabularies side by side)
template <class Body>
void each_concept(const DataSet& set, std::size_t shard, const std::vector<ConceptSource>& sources,
                  Body body) {
  data::Concepts concepts;
  std::int64_t beyond = 0;
  for (std::size_t k = 0; k < set.shards[shard].kept.size(); ++k) {
    std::size_t first = 0;
    for (const auto& source : sources) {
      read(set, shard, set.shards[shard].kept[k], source, concepts, beyond);
      for (const auto index : concepts.index) body(k, first + static_cast<std::size_t>(index));
      first += source.places.size();
    }
  }
}

}  // namespace

std::vector<ConceptSource> concept_sources(const jobs::ConceptsSpec& spec) {
  std::vector<ConceptSource> sources;
  for (const auto& head : spec.heads) {
    ConceptSource source{head.name, head.field, {}, head.top_k};
    for (std::size_t i = 0; i < head.vocabulary.size(); ++i)
      source.places.emplace(head.vocabulary[i], static_cast<std::int64_t>(i));
    sources.push_back(std::move(source));
  }
  return sources;
}

void join_concepts(const DataSet& set, const jobs::ConceptsSpec& spec,
                   const std::vector<jobs::InputsLine>& inputs, std::vector<ConceptSource>& sources) {
  for (std::size_t h = 0; h < sources.size(); ++h) sources[h].rows = concept_rows(set, spec.heads[h], inputs);
}

SoftTargets concept_targets(const DataSet& set, const ConceptSource& source, const data::SlotBatch& batch,
                            std::map<std::string, std::int64_t>& counts) {
  std::vector<data::Concepts> rows(batch.samples.size());
  std::size_t width = 1;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (batch.live[i] == 0) continue;
    std::int64_t beyond = 0;
    const auto fault = read(set, static_cast<std::size_t>(batch.samples[i].shard), batch.samples[i].sample,
                            source, rows[i], beyond);
    if (fault == data::ConceptFault::kMissing) ++counts[source.name + ".missing"];
    if (fault == data::ConceptFault::kMalformed) ++counts[source.name + ".malformed"];
    if (beyond > 0) counts[source.name + ".beyond_vocabulary"] += beyond;
    width = std::max(width, rows[i].index.size());
  }
  const auto b = static_cast<std::int64_t>(rows.size()), k = static_cast<std::int64_t>(width);
  SoftTargets targets{at::zeros({b, k}, at::kLong), at::zeros({b, k}, at::kFloat)};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i) * k;
    std::copy(rows[i].index.begin(), rows[i].index.end(), targets.index_Bk.data_ptr<std::int64_t>() + row);
    std::transform(rows[i].probability.begin(), rows[i].probability.end(),
                   targets.weight_Bk.data_ptr<float>() + row,
                   [](double probability) { return static_cast<float>(probability); });
  }
  return targets;
}

void sample_by_square_root(DataSet& set, const std::vector<ConceptSource>& sources) {
  std::size_t concepts = 0;
  for (const auto& source : sources) concepts += source.places.size();
  std::vector<std::int64_t> count(concepts);
  for (std::size_t s = 0; s < set.shards.size(); ++s)
    each_concept(set, s, sources, [&](std::size_t, std::size_t one) { ++count[one]; });
  std::vector<std::vector<double>> times;
  double sum = 0;
  std::int64_t samples = 0;
  for (std::size_t s = 0; s < set.shards.size(); ++s) {
    auto& of_shard = times.emplace_back(set.shards[s].kept.size());
    each_concept(set, s, sources, [&](std::size_t k, std::size_t one) {
      of_shard[k] += 1 / std::sqrt(static_cast<double>(count[one]));
    });
    for (const double value : of_shard) {
      sum += value;
      samples += value > 0 ? 1 : 0;
    }
  }
  const double scale = samples > 0 ? static_cast<double>(samples) / sum : 1;
  for (std::size_t s = 0; s < set.shards.size(); ++s) {
    set.shards[s].times.clear();
    for (const double value : times[s])
      set.shards[s].times.push_back(value > 0 ? static_cast<float>(value * scale) : 1.0F);
  }
}

void require_concepts(const DataSet& set, const std::vector<ConceptSource>& sources) {
  for (const auto& source : sources) {
    const auto has = [&](std::size_t shard, std::int64_t sample) {
      data::Concepts concepts;
      std::int64_t beyond = 0;
      return read(set, shard, sample, source, concepts, beyond) == data::ConceptFault::kNone;
    };
    if (!set.any_has(has))
      throw Error(ErrorKind::kInvalid,
                  (source.rows.empty() ? "the samples' .json have no concept of head '"
                                       : "the samples have no concept of head '") +
                      source.name + "' in a field '" + source.field + "'",
                  "look at the field's name and at the vocabulary");
  }
}

void require_labels(const DataSet& set) {
  const auto has = [&](std::size_t shard, std::int64_t sample) {
    return set.shards[shard].reader->label(sample).has_value();
  };
  if (!set.any_has(has))
    throw Error(ErrorKind::kInvalid, "loss.positives is \"label\", and the samples have no labels",
                "use data with .cls members, or positives \"pair\"");
}

}  // namespace trireme::worker::stages::train
