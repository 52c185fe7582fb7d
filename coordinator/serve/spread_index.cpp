// GCC 12 takes the frame of an inlined coroutine for memory of another allocator.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#include "coordinator/serve/spread_index.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/http/connection.h"
#include "coordinator/serve/merging.h"
#include "coordinator/serve/spread_part.h"
#include "jobs/search/clip_words.h"

namespace trireme::coordinator::serve {
namespace {

using jobs::QueryKind;
using jobs::SearchCall;
using nlohmann::ordered_json;

constexpr std::chrono::seconds kCallLimit{30}, kLookLimit{5};
constexpr std::size_t kMostOwners = 1U << 20;

std::string dumped(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// What the query itself is to blame for; anything else is the service's trouble.
std::optional<ErrorKind> blame(const RemoteAnswer& answer) {
  if (answer.status == 404) return ErrorKind::kNotFound;
  if (answer.status == 400 || answer.status == 413 || answer.status == 422) return ErrorKind::kInvalid;
  return std::nullopt;
}

void check_model(const jobs::SearchQuery& query, const std::string& model, const std::string& name) {
  if (!query.model.empty() && query.model != model)
    throw Error(ErrorKind::kInvalid, "the index '" + name + "' is of another model than was asked for",
                "embeddings are compared with those of their own model alone; GET /api/v1/indexes names it");
}

}  // namespace

void none_answers() {
  throw Error(ErrorKind::kUnavailable, "no part of the index answers");
}

struct SpreadIndex::Found {
  std::vector<ordered_json> hits;  // best first
  ordered_json recall = 1;         // the least of the parts'; null where one promises nothing
  std::int64_t items = 0;
  ordered_json damaged = ordered_json::array();
};

SpreadIndex::SpreadIndex(net::io_context& io, const std::string& given, const std::string& token) : io_(io) {
  const std::size_t equals = given.find('=');
  name_ = given.substr(0, equals);
  if (equals == std::string::npos || name_.empty() ||
      name_.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") !=
          std::string::npos)
    throw Error(ErrorKind::kUsage, "'" + given + "' is no index of several services",
                "give NAME=http://HOST:PORT,http://HOST:PORT,…");
  for (std::size_t at = equals + 1; at <= given.size();) {
    const std::size_t end = std::min(given.find(',', at), given.size());
    parts_.push_back(std::make_unique<Part>(Part{RemoteService(io, given.substr(at, end - at), token)}));
    at = end + 1;
  }
}

SpreadIndex::~SpreadIndex() = default;

std::vector<std::size_t> SpreadIndex::all() const {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < parts_.size(); ++i)
    if (parts_[i]->fits) all.push_back(i);
  return all;
}

// All at once; answers in the order of `parts`.
net::awaitable<std::vector<RemoteAnswer>> SpreadIndex::ask(std::vector<std::size_t> parts, std::string method,
                                                           std::vector<std::string> targets,
                                                           std::vector<std::string> bodies) {
  struct Shared {
    std::vector<RemoteAnswer> answers;
    std::size_t open = 0;
    net::steady_timer done;
  };
  auto shared =
      std::make_shared<Shared>(Shared{std::vector<RemoteAnswer>(parts.size()), parts.size(),
                                      net::steady_timer(io_, net::steady_timer::time_point::max())});
  for (std::size_t i = 0; i < parts.size(); ++i) {
    auto one = [](std::shared_ptr<Shared> shared_by_all, RemoteService& service, std::size_t at,
                  std::string how, std::string target, std::string body) -> net::awaitable<void> {
      const std::chrono::milliseconds limit = target == "/api/v1/indexes" ? kLookLimit : kCallLimit;
      shared_by_all->answers[at] =
          co_await service.call(std::move(how), std::move(target), std::move(body), limit);
      if (--shared_by_all->open == 0) shared_by_all->done.cancel();
    };
    net::co_spawn(
        io_, one(shared, parts_[parts[i]]->service, i, method, targets[i], bodies.empty() ? "" : bodies[i]),
        net::detached);
  }
  if (shared->open > 0) co_await shared->done.async_wait(http::kAwait);
  co_return std::move(shared->answers);
}

net::awaitable<jobs::Frame> SpreadIndex::call(SearchCall what, std::string body) {
  jobs::Frame frame;
  try {
    frame.body = co_await answer(what, body);
  } catch (const Error& error) {
    frame = {0, jobs::code_of(error.kind()), error.what()};
  } catch (const std::exception& error) {
    frame = {0, jobs::code_of(ErrorKind::kInternal), error.what()};
  }
  co_return frame;
}

net::awaitable<std::string> SpreadIndex::answer(SearchCall what, const std::string& body) {
  switch (what) {
    case SearchCall::kSearch:
      co_return co_await search(jobs::query_from_json(body));
    case SearchCall::kKnn: {
      const std::string found = co_await search(jobs::query_of_knn(body));
      co_return jobs::knn_of_answer(found);
    }
    case SearchCall::kRows: {
      const auto query = jobs::query_from_json(body);
      check_model(query, model_, name_);
      const Rows rows = co_await part_rows(query.parts);
      co_return dumped({{"index", name_}, {"model", model_}, {"rows", rows}});
    }
    case SearchCall::kMetadata:
      co_return co_await metadata(body);
    case SearchCall::kItem:
    case SearchCall::kThumbnail:
      break;
  }
  const auto asked = ordered_json::parse(body);
  co_return co_await of_item(what, asked.at("id").get<std::string>());
}

// Embeddings of all parts of a query, as they enter its sum.
net::awaitable<SpreadIndex::Rows> SpreadIndex::part_rows(const std::vector<jobs::QueryPart>& query) {
  Rows rows(query.size());
  for (std::size_t i = 0; i < query.size(); ++i)
    if (query[i].kind == QueryKind::kEmbedding) {  // its direction; the weight comes later
      jobs::QueryPart plain = query[i];
      plain.weight = 1;
      rows[i] = jobs::unit_sum({plain}, {plain.embedding});
    }
  co_await rows_of_others(query, rows);
  co_await rows_of_items(query, rows);
  co_return rows;
}

// Texts and pictures go to one part, another one each time; to the next where it does not answer.
net::awaitable<void> SpreadIndex::rows_of_others(const std::vector<jobs::QueryPart>& query, Rows& rows) {
  jobs::SearchQuery asked;
  asked.model = model_;
  std::vector<std::size_t> place;
  for (std::size_t i = 0; i < query.size(); ++i)
    if (query[i].kind == QueryKind::kText || query[i].kind == QueryKind::kImage) {
      asked.parts.push_back(query[i]);
      place.push_back(i);
    }
  if (place.empty()) co_return;
  const auto parts = all();
  const std::size_t first = next_++;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t part = parts[(first + i) % parts.size()];
    asked.index = parts_[part]->index;
    const std::vector<std::size_t> asked_part(1, part);
    const std::vector<std::string> target(1, "/api/v1/embed"), body(1, jobs::to_json(asked));
    const auto answers = co_await ask(asked_part, "POST", target, body);
    if (const auto kind = blame(answers[0])) throw Error(*kind, detail_of(answers[0]));
    if (answers[0].status != 200) continue;
    const auto found = ordered_json::parse(answers[0].body);
    for (std::size_t p = 0; p < place.size(); ++p)
      rows[place[p]] = found.at("rows").at(p).get<std::vector<float>>();
    co_return;
  }
  none_answers();
}

net::awaitable<void> SpreadIndex::rows_of_items(const std::vector<jobs::QueryPart>& query, Rows& rows) {
  for (std::size_t i = 0; i < query.size(); ++i) {
    if (query[i].kind != QueryKind::kItem) continue;
    const auto parts = owners(query[i].value);
    std::vector<std::string> bodies;
    for (const std::size_t part : parts)
      bodies.push_back(jobs::to_json({.index = parts_[part]->index, .model = model_, .parts = {query[i]}}));
    const auto answers =
        co_await ask(parts, "POST", std::vector<std::string>(parts.size(), "/api/v1/embed"), bodies);
    bool silent = parts.empty();
    for (const auto& answer : answers) {
      if (answer.status == 200)
        rows[i] = ordered_json::parse(answer.body).at("rows").at(0).get<std::vector<float>>();
      silent = silent || !(answer.status == 200 || answer.status == 404);
    }
    if (!rows[i].empty()) continue;
    if (silent)
      throw Error(ErrorKind::kUnavailable, "the part of the index that has the item does not answer");
    throw Error(ErrorKind::kNotFound, "the index has no item '" + printable(query[i].value, 100) + "'");
  }
}

// Those that may have the item.
std::vector<std::size_t> SpreadIndex::owners(std::string_view id) const {
  const auto owner = owner_.find(std::string(id.substr(0, id.find('.'))));
  return owner == owner_.end() || !parts_[owner->second]->fits ? all()
                                                               : std::vector<std::size_t>{owner->second};
}

SpreadIndex::Found SpreadIndex::gathered(const std::vector<RemoteAnswer>& answers) {
  Found found;
  std::size_t answered = 0, at = 0;
  if (owner_.size() > kMostOwners) owner_.clear();
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = *parts_[i];
    const RemoteAnswer none, &answer = part.fits ? answers[at++] : none;
    if (const auto kind = blame(answer)) throw Error(*kind, part.service.url() + ": " + detail_of(answer));
    if (answer.status != 200) {
      found.damaged.push_back(part.service.url());
      continue;
    }
    ++answered;
    auto json = ordered_json::parse(answer.body);
    found.items += json.at("items").get<std::int64_t>();
    const auto& recall = json.at("recall");
    found.recall =
        recall.is_null() || found.recall.is_null() ? ordered_json() : std::min(found.recall, recall);
    for (const auto& file : json.value("damaged", ordered_json::array()))
      found.damaged.push_back(part.service.url() + " " + file.get<std::string>());
    for (auto& hit : json.at("hits")) {
      const std::string id = hit.at("id");
      owner_[id.substr(0, id.find('.'))] = i;
      hit["row"] = part.base + hit.at("row").get<std::int64_t>();
      found.hits.push_back(std::move(hit));
    }
  }
  if (answered == 0) none_answers();
  sort_hits(found.hits);
  return found;
}

net::awaitable<std::string> SpreadIndex::search(jobs::SearchQuery query) {
  check_model(query, model_, name_);
  const Rows rows = co_await part_rows(query.parts);
  std::set<std::string> own;
  for (const auto& part : query.parts)
    if (part.kind == QueryKind::kItem) own.insert(part.value);
  const std::int64_t looked_for = jobs::looked_for(query, static_cast<std::int64_t>(own.size()));
  jobs::SearchQuery asked = query;
  asked.parts = {{.kind = QueryKind::kEmbedding,
                  .embedding = jobs::unit_sum(query.parts, rows),
                  .of = jobs::made_of(query.parts)}};
  asked.k = std::min(looked_for, jobs::kMostHits);
  asked.offset = 0;
  asked.distinct.reset();
  asked.rows = query.rows || query.distinct;
  asked.model = model_;
  const auto parts = all();
  std::vector<std::string> bodies;
  for (const std::size_t part : parts) {
    asked.index = parts_[part]->index;
    bodies.push_back(jobs::to_json(asked));
  }
  const auto answers =
      co_await ask(parts, "POST", std::vector<std::string>(parts.size(), "/api/v1/search"), bodies);
  Found found = gathered(answers);
  std::erase_if(found.hits,
                [&](const ordered_json& hit) { return own.contains(hit.at("id").get<std::string>()); });
  const std::int64_t wanted = query.offset + query.k;
  const auto cut = [&](std::int64_t most) {
    if (found.hits.size() > static_cast<std::size_t>(most)) found.hits.resize(static_cast<std::size_t>(most));
  };
  cut(looked_for);
  if (query.distinct) found.hits = distinct_hits(std::move(found.hits), *query.distinct, wanted);
  cut(wanted);
  ordered_json out = {{"index", name_},       {"query", jobs::query_text(query.parts)},
                      {"k", query.k},         {"offset", query.offset},
                      {"items", found.items}, {"recall", found.recall}};
  if (!found.damaged.empty()) out["damaged"] = found.damaged;
  out["hits"] = ordered_json::array();
  for (std::size_t i = static_cast<std::size_t>(query.offset); i < found.hits.size(); ++i) {
    found.hits[i]["rank"] = i + 1;
    if (!query.rows) found.hits[i].erase("embedding");
    out["hits"].push_back(std::move(found.hits[i]));
  }
  co_return dumped(out);
}

}  // namespace trireme::coordinator::serve
