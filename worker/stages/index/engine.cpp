#include "worker/stages/index/engine.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/hash.h"
#include "jobs/search/clip_words.h"
#include "worker/data/batches/image_batch.h"
#include "worker/embedding/texts.h"

namespace trireme::worker::stages::index {
namespace {

using jobs::MadeOf;
using jobs::QueryKind;
using nlohmann::ordered_json;

constexpr std::size_t kTextsKept = 10000;

std::string dumped(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// Of every file of the model: two indexes of one model have the same.
std::string model_of(const search::Manifest& manifest) {
  std::string all;
  for (const auto& file : manifest.files)
    if (file.name.starts_with("model/")) all += file.name + ' ' + file.xxh3 + '\n';
  return io::hex(io::xxh3_128(all));
}

std::vector<float> numbers_of(const at::Tensor& row_D) {
  const auto row = row_D.to(at::kFloat).contiguous();
  return {row.const_data_ptr<float>(), row.const_data_ptr<float>() + row.numel()};
}

}  // namespace

struct Engine::Asked {
  const jobs::SearchQuery* query = nullptr;
  std::size_t place = 0;
  MadeOf made = MadeOf::kTexts;
  at::Tensor row_D;
  std::set<std::int64_t> own;  // rows that the query names are no answer
  std::optional<double> promise;
  std::int64_t wanted() const { return query->offset + query->k; }
  std::int64_t looked_for() const { return jobs::looked_for(*query, static_cast<std::int64_t>(own.size())); }
};

Engine::Engine(const std::string& run_or_index, std::string name)
    : name_(std::move(name)),
      index_(run_or_index),
      model_(models::DualEncoder::load(index_.model().string())),
      pictures_(index_),
      model_name_(model_of(index_.manifest())) {
  if (model_->spec().embed_dim != index_.manifest().width)
    throw Error(ErrorKind::kDamaged,
                index_.folder().string() + ": the model embeds in " +
                    std::to_string(model_->spec().embed_dim) + " dimensions, the index has " +
                    std::to_string(index_.manifest().width),
                "run the index stage again");
}

std::int64_t Engine::row_of(const std::string& id) const {
  const auto row = index_.row_of(id);
  if (!row) throw Error(ErrorKind::kNotFound, "the index has no item '" + printable(id, 100) + "'");
  return *row;
}

void Engine::embed_texts(const std::vector<std::string>& texts) {
  std::vector<std::string> fresh;
  for (const auto& text : texts)
    if (!seen_at_.contains(text) && std::find(fresh.begin(), fresh.end(), text) == fresh.end())
      fresh.push_back(text);
  if (fresh.empty()) return;
  const auto rows = embedding::encode_texts(*model_, "cpu", fresh, /*project=*/true).rows;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    seen_.emplace_front(fresh[i], rows[static_cast<std::int64_t>(i)].clone());
    seen_at_[fresh[i]] = seen_.begin();
  }
}

at::Tensor Engine::part_row(const jobs::QueryPart& part) {
  const std::string name = part.label.empty() ? "the picture" : "the picture " + part.label;
  switch (part.kind) {
    case QueryKind::kText: {
      embed_texts({part.value});
      const auto found = seen_at_.at(part.value);
      seen_.splice(seen_.begin(), seen_, found);
      return found->second;
    }
    case QueryKind::kImage: {
      const auto picture = data::evaluation_batch(
          1, [&](std::size_t, std::string&) { return data::EncodedPicture{part.value}; },
          model_->image_preprocess());
      if (!picture.faults.empty())
        throw Error(ErrorKind::kInvalid, name + " cannot be read: " + picture.faults[0].second,
                    "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and HEIC pictures can be searched for");
      return model_->encode_image(picture.image_BCHW)[0];
    }
    case QueryKind::kItem: {
      const auto row = index_.row(row_of(part.value));
      if (!row.defined()) throw Error(ErrorKind::kDamaged, "the item's segment is damaged");
      return row;
    }
    case QueryKind::kEmbedding:
      break;
  }
  if (static_cast<std::int64_t>(part.embedding.size()) != index_.manifest().width)
    throw Error(ErrorKind::kInvalid, "an embedding of this index has " +
                                         std::to_string(index_.manifest().width) + " numbers, not " +
                                         std::to_string(part.embedding.size()));
  const auto row_D = at::tensor(part.embedding);
  const auto norm = row_D.norm().item<double>();
  if (!std::isfinite(norm) || norm < 1e-6)
    throw Error(ErrorKind::kInvalid, "an embedding of zeros is no direction");
  return row_D / norm;
}

at::Tensor Engine::embed(const std::vector<jobs::QueryPart>& parts) {
  const at::NoGradGuard no_gradients;
  std::vector<std::vector<float>> rows;
  for (const auto& part : parts) rows.push_back(numbers_of(part_row(part)));
  return at::tensor(jobs::unit_sum(parts, rows)).view({1, -1});
}

void Engine::prepare(const std::vector<jobs::SearchQuery>& queries, std::vector<Asked>& asked) {
  std::vector<std::string> texts;
  for (const auto& query : queries)
    for (const auto& part : query.parts)
      if (part.kind == QueryKind::kText) texts.push_back(part.value);
  while (seen_.size() > kTextsKept) {
    seen_at_.erase(seen_.back().first);
    seen_.pop_back();
  }
  embed_texts(texts);
  for (std::size_t i = 0; i < queries.size(); ++i) {
    asked.push_back({&queries[i], i, jobs::made_of(queries[i].parts), {}, {}, {}});
    for (const auto& part : queries[i].parts)
      if (part.kind == QueryKind::kItem)
        if (const auto row = index_.row_of(part.value)) asked.back().own.insert(*row);
  }
}

void Engine::check_model(const jobs::SearchQuery& query) const {
  if (!query.model.empty() && query.model != model_name_)
    throw Error(ErrorKind::kInvalid, "the index '" + name_ + "' is of another model than was asked for",
                "embeddings are compared with those of their own model alone; GET /api/v1/indexes names it");
}

std::vector<Outcome> Engine::part_rows(const std::vector<jobs::SearchQuery>& queries) {
  const at::NoGradGuard no_gradients;
  std::vector<Outcome> outcomes;
  std::vector<Asked> all;
  prepare(queries, all);
  for (const auto& query : queries) try {
      check_model(query);
      ordered_json rows = ordered_json::array();
      for (const auto& part : query.parts) rows.push_back(numbers_of(part_row(part)));
      outcomes.emplace_back(dumped({{"index", name_}, {"model", model_name_}, {"rows", std::move(rows)}}));
    } catch (const Error& error) {
      outcomes.emplace_back(error);
    }
  return outcomes;
}

std::vector<Outcome> Engine::answer(const std::vector<jobs::SearchQuery>& queries) {
  const at::NoGradGuard no_gradients;
  std::vector<Outcome> outcomes(queries.size());
  std::vector<Asked> all;
  prepare(queries, all);
  // Queries that are searched alike are searched together.
  std::map<std::tuple<MadeOf, bool, std::string>, std::vector<Asked*>> groups;
  for (auto& asked : all) {
    const auto& query = *asked.query;
    try {
      check_model(query);
      asked.row_D = embed(query.parts).view({-1});
      asked.promise = index_.promise(asked.made, query.exact, query.filter);
      if (query.least_recall && asked.promise.value_or(0) < *query.least_recall)
        throw Error(ErrorKind::kInvalid,
                    "the index promises recall@10 of " +
                        (asked.promise ? std::to_string(*asked.promise) : std::string("nothing")) +
                        " for such queries",
                    "ask with exact, or for less");
      std::string filter;
      for (const auto& condition : query.filter)
        filter += jobs::to_json(jobs::SearchQuery{.filter = {condition}});
      groups[{asked.made, query.exact, filter}].push_back(&asked);
    } catch (const Error& error) {
      outcomes[asked.place] = error;
    }
  }
  for (const auto& [key, group] : groups) {
    std::vector<at::Tensor> rows;
    std::int64_t k = 1;
    for (const Asked* asked : group) {
      rows.push_back(asked->row_D);
      k = std::max(k, asked->looked_for());
    }
    try {
      const auto hits =
          index_.search(at::stack(rows), k, std::get<0>(key), std::get<1>(key), group.front()->query->filter);
      for (std::size_t i = 0; i < group.size(); ++i)
        outcomes[group[i]->place] = answer_json(*group[i], page_of(*group[i], hits[i]));
    } catch (const Error& error) {
      for (const Asked* asked : group) outcomes[asked->place] = error;
    }
  }
  return outcomes;
}

std::vector<search::Hit> Engine::page_of(const Asked& asked, std::vector<search::Hit> hits) const {
  std::erase_if(hits, [&](const search::Hit& hit) { return asked.own.contains(hit.row); });
  if (hits.size() > static_cast<std::size_t>(asked.looked_for()))
    hits.resize(static_cast<std::size_t>(asked.looked_for()));
  if (asked.query->distinct) hits = index_.distinct(hits, *asked.query->distinct, asked.wanted());
  if (hits.size() > static_cast<std::size_t>(asked.wanted()))
    hits.resize(static_cast<std::size_t>(asked.wanted()));
  const auto skipped = std::min(hits.size(), static_cast<std::size_t>(asked.query->offset));
  hits.erase(hits.begin(), hits.begin() + static_cast<std::ptrdiff_t>(skipped));
  return hits;
}

std::string Engine::answer_json(const Asked& asked, const std::vector<search::Hit>& hits) const {
  ordered_json out = {
      {"index", name_},         {"query", jobs::query_text(asked.query->parts)},
      {"k", asked.query->k},    {"offset", asked.query->offset},
      {"items", index_.rows()}, {"recall", asked.promise ? ordered_json(*asked.promise) : ordered_json()}};
  if (!index_.damaged().empty()) out["damaged"] = index_.damaged();
  out["hits"] = ordered_json::array();
  for (std::size_t i = 0; i < hits.size(); ++i) {
    const auto item = index_.item(hits[i].row);
    out["hits"].push_back({{"rank", asked.query->offset + static_cast<std::int64_t>(i) + 1},
                           {"score", hits[i].score},
                           {"id", index_.id_of(hits[i].row)},
                           {"row", hits[i].row},
                           {"key", item.key},
                           {"captions", item.captions},
                           {"url", item.url},
                           {"columns", ordered_json::parse(item.columns)},
                           {"shard", index_.shard_of(hits[i].row).path},
                           {"sample", item.sample}});
    if (asked.query->rows) out["hits"].back()["embedding"] = numbers_of(index_.row(hits[i].row));
  }
  return dumped(out);
}

std::string Engine::description() const {
  const auto& manifest = index_.manifest();
  const auto promise = [&](const search::Promise& one) -> ordered_json {
    if (!manifest.approximate) return 1;
    return one.queries > 0 ? ordered_json(one.recall) : ordered_json();
  };
  return dumped({{"name", name_},
                 {"items", manifest.items()},
                 {"width", manifest.width},
                 {"search", manifest.approximate ? "approximate" : "exact"},
                 {"recall", {{"image", promise(manifest.image)}, {"text", promise(manifest.text)}}},
                 {"columns", manifest.columns},
                 {"model", model_name_},
                 {"segments", manifest.segments.size()},
                 {"damaged", index_.damaged()}});
}

std::string Engine::metadata(const std::string& body) const {
  auto out = ordered_json::array();
  for (const std::int64_t row : jobs::metadata_call(body).rows)
    out.push_back({{"id", row}, {"metadata", ordered_json::parse(jobs::words_of_item(item_at(row)))}});
  return dumped(out);
}

std::string Engine::item(const std::string& id) const {
  return item_at(row_of(id));
}

std::string Engine::item_at(std::int64_t row) const {
  const auto item = index_.item(row);
  return dumped({{"index", name_},
                 {"id", index_.id_of(row)},
                 {"row", row},
                 {"key", item.key},
                 {"captions", item.captions},
                 {"url", item.url},
                 {"columns", ordered_json::parse(item.columns)},
                 {"shard", index_.shard_of(row).path},
                 {"sample", item.sample}});
}

}  // namespace trireme::worker::stages::index
