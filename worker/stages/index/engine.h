// Answers searches over one index: parts become embeddings by the index's own model (texts and pictures of
// all queries of a batch at once, texts seen before from memory), their weighted sum is searched for, hits
// become JSON (docs/search.md). Not thread-safe but for thumbnail().
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "common/base/error.h"
#include "jobs/search/query.h"
#include "worker/models/dual_encoder.h"
#include "worker/search/index.h"
#include "worker/stages/index/pictures.h"

namespace trireme::worker::stages::index {

using Outcome = std::variant<std::string, Error>;  // JSON, or why not

class Engine {
 public:
  // `name`: what the index is called in addresses. Throws as search::Index, and as DualEncoder::load.
  Engine(const std::string& run_or_index, std::string name);

  const search::Index& index() const { return index_; }
  const std::string& name() const { return name_; }

  // One outcome per query, in their order; a query that cannot be answered spoils no other.
  std::vector<Outcome> answer(const std::vector<jobs::SearchQuery>& queries);
  // Of every query's parts the embeddings as they enter its sum, without weights: {"index", "model", "rows"}.
  std::vector<Outcome> part_rows(const std::vector<jobs::SearchQuery>& queries);
  // What the index holds and promises.
  std::string description() const;
  std::string item(const std::string& id) const;
  std::string thumbnail(const std::string& id) { return pictures_.thumbnail(row_of(id)); }
  std::string thumbnail(std::int64_t row) { return pictures_.thumbnail(row); }

  // [1, D], norm 1. Throws kInvalid / kNotFound naming what cannot be embedded, kInvalid when the parts
  // cancel out.
  at::Tensor embed(const std::vector<jobs::QueryPart>& parts);

  // Of clip-retrieval's back end: metadata of rows by number.
  std::string metadata(const std::string& body) const;

 private:
  struct Asked;  // a query on its way
  std::int64_t row_of(const std::string& id) const;
  std::string item_at(std::int64_t row) const;
  void check_model(const jobs::SearchQuery& query) const;
  void embed_texts(const std::vector<std::string>& texts);
  void prepare(const std::vector<jobs::SearchQuery>& queries, std::vector<Asked>& asked);
  at::Tensor part_row(const jobs::QueryPart& part);
  std::vector<search::Hit> page_of(const Asked& asked, std::vector<search::Hit> hits) const;
  std::string answer_json(const Asked& asked, const std::vector<search::Hit>& hits) const;

  std::string name_;
  search::Index index_;
  std::unique_ptr<models::DualEncoder> model_;
  Pictures pictures_;
  std::string model_name_;
  std::list<std::pair<std::string, at::Tensor>> seen_;  // texts, newest first
  std::unordered_map<std::string, std::list<std::pair<std::string, at::Tensor>>::iterator> seen_at_;
};

}  // namespace trireme::worker::stages::index
