// GCC 12 takes the frame of an inlined coroutine for memory of another allocator.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
// What the parts of an index serve, and single items of them.
#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "common/base/error.h"
#include "common/base/log.h"
#include "coordinator/serve/spread_part.h"
#include "jobs/search/clip_words.h"

namespace trireme::coordinator::serve {

using jobs::SearchCall;
using nlohmann::ordered_json;

namespace {

std::string dumped_items(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace

net::awaitable<void> SpreadIndex::look() {
  std::vector<std::size_t> everyone(parts_.size());
  std::iota(everyone.begin(), everyone.end(), 0);
  const auto answers =
      co_await ask(everyone, "GET", std::vector<std::string>(parts_.size(), "/api/v1/indexes"), {});
  std::int64_t base = 0;
  bool complete = true;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    Part& part = *parts_[i];
    see(part, answers[i]);
    part.base = base;
    base += part.items;
    complete = complete && part.fits;
  }
  ready_ = ready_ || complete;
}

// What it told before stays while it does not answer: ids and row numbers are those of its items.
void SpreadIndex::see(Part& part, const RemoteAnswer& answer) {
  const auto told = ordered_json::parse(answer.body, nullptr, false);
  const bool there = answer.status == 200 && told.is_object();
  if (part.there != there)
    log_info("serve", part.service.url() +
                          (there ? " answers" : " does not answer (" + std::to_string(answer.status) + ")"));
  part.there = there;
  if (!there) return;
  part.fits = false;
  const std::string& wanted = part.service.index();
  for (const auto& one : told.at("indexes"))
    if (one.at("name") == wanted || (wanted.empty() && told["indexes"].size() == 1)) part.described = one;
  if (part.described.is_null()) {
    failure_ = part.service.url() + " serves " +
               (wanted.empty() ? "several indexes" : "no index '" + wanted + "'") +
               "; name one of them behind its address";
    return;
  }
  part.index = part.described.at("name");
  part.items = part.described.at("items");
  if (model_.empty()) model_ = part.described.at("model");
  part.fits = part.described.at("model") == model_;
  if (!part.fits)
    failure_ =
        part.service.url() + " serves an index of another model than the other parts of '" + name_ + "'";
}

ordered_json SpreadIndex::description() const {
  std::set<std::string> columns;
  std::int64_t items = 0, segments = 0;
  ordered_json recall = {{"image", 1}, {"text", 1}}, damaged = ordered_json::array(), width;
  bool approximate = false;
  for (const auto& part : parts_) {
    if (!part->there.value_or(false) || !part->fits) damaged.push_back(part->service.url());
    if (!part->fits) continue;
    items += part->items;
    segments += part->described["segments"].get<std::int64_t>();
    width = part->described["width"];
    approximate = approximate || part->described["search"] == "approximate";
    for (const auto& column : part->described["columns"]) columns.insert(column.get<std::string>());
    for (const auto& file : part->described["damaged"])
      damaged.push_back(part->service.url() + " " + file.get<std::string>());
    for (const char* way : {"image", "text"}) {
      const auto& own = part->described["recall"][way];
      recall[way] = own.is_null() || recall[way].is_null() ? ordered_json() : std::min(recall[way], own);
    }
  }
  return {{"name", name_},      {"items", items},
          {"width", width},     {"search", approximate ? "approximate" : "exact"},
          {"recall", recall},   {"columns", columns},
          {"model", model_},    {"segments", segments},
          {"damaged", damaged}, {"parts", parts_.size()}};
}

net::awaitable<std::string> SpreadIndex::of_item(SearchCall what, const std::string& id) {
  const auto parts = owners(id);
  std::vector<std::string> targets;
  for (const std::size_t part : parts)
    targets.push_back((what == SearchCall::kItem ? "/api/v1/items/" : "/api/v1/thumbnails/") +
                      parts_[part]->index + "/" + id);
  const auto answers = co_await ask(parts, "GET", targets, {});
  bool silent = parts.empty();
  for (std::size_t i = 0; i < answers.size(); ++i) {
    silent = silent || !(answers[i].status == 200 || answers[i].status == 404);
    if (answers[i].status != 200) continue;
    if (what == SearchCall::kThumbnail) co_return answers[i].body;
    auto item = ordered_json::parse(answers[i].body);
    item["index"] = name_;
    item["row"] = parts_[parts[i]]->base + item.at("row").get<std::int64_t>();
    co_return dumped_items(item);
  }
  if (silent) throw Error(ErrorKind::kUnavailable, "the part of the index that has the item does not answer");
  throw Error(ErrorKind::kNotFound, parts.size() == 1 ? detail_of(answers[0])
                                                      : "the index has no item '" + printable(id, 100) + "'");
}

net::awaitable<std::string> SpreadIndex::metadata(const std::string& body) {
  const auto call = jobs::metadata_call(body);
  std::map<std::size_t, std::vector<std::int64_t>> by_part;  // rows in it
  const auto part_of = [&](std::int64_t row) {
    for (std::size_t i = 0; i < parts_.size(); ++i)
      if (row >= parts_[i]->base && row < parts_[i]->base + parts_[i]->items) return i;
    throw Error(ErrorKind::kNotFound, "there is no item " + std::to_string(row));
  };
  for (const std::int64_t row : call.rows) by_part[part_of(row)].push_back(row - parts_[part_of(row)]->base);
  std::vector<std::size_t> parts;
  std::vector<std::string> bodies;
  for (const auto& [part, rows] : by_part) {
    parts.push_back(part);
    bodies.push_back(dumped_items({{"ids", rows}, {"indice_name", parts_[part]->index}}));
  }
  const auto answers =
      co_await ask(parts, "POST", std::vector<std::string>(parts.size(), "/metadata"), bodies);
  std::map<std::int64_t, ordered_json> words;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (answers[i].status != 200) none_answers();
    for (auto& one : ordered_json::parse(answers[i].body))
      words[parts_[parts[i]]->base + one.at("id").get<std::int64_t>()] = std::move(one.at("metadata"));
  }
  ordered_json out = ordered_json::array();
  for (const std::int64_t row : call.rows) out.push_back({{"id", row}, {"metadata", words.at(row)}});
  co_return dumped_items(out);
}

}  // namespace trireme::coordinator::serve
