#include "jobs/search/clip_words.h"

#include <nlohmann/json.hpp>

#include "common/base/error.h"

namespace trireme::jobs {
namespace {

using nlohmann::ordered_json;

constexpr double kItsCopies = 0.94;  // cosine from which its deduplication calls two pictures one

std::string dumped(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

ordered_json body_of(const std::string& body) {
  auto json = ordered_json::parse(body, nullptr, false);
  if (!json.is_object()) throw Error(ErrorKind::kInvalid, "the body is no JSON object");
  return json;
}

bool is_given(const ordered_json& json, const char* name) {
  return json.contains(name) && !json.at(name).is_null() && json.at(name) != "";
}

ordered_json words_of(const ordered_json& item) {
  ordered_json words = item.at("columns");
  words["key"] = item.at("key");
  words["caption"] = item.at("captions").empty() ? ordered_json("") : item.at("captions").front();
  words["url"] = item.at("url");
  return words;
}

}  // namespace

SearchQuery query_of_knn(const std::string& body) {
  const auto json = body_of(body);
  ordered_json ours = {{"query", ordered_json::array()}};
  if (is_given(json, "image_url")) ours["query"].push_back({{"image_url", json["image_url"]}});  // is refused
  if (is_given(json, "text")) ours["query"].push_back({{"text", json["text"]}});
  if (is_given(json, "image")) ours["query"].push_back({{"image", json["image"]}});
  if (is_given(json, "embedding_input")) ours["query"].push_back({{"embedding", json["embedding_input"]}});
  if (json.contains("modality") && json["modality"] != "image")
    throw Error(ErrorKind::kInvalid, "/modality: the index is of images", "ask for modality image");
  if (json.contains("use_mclip") && json["use_mclip"] == true)
    throw Error(ErrorKind::kInvalid, "/use_mclip: there is no such model here");
  if (is_given(json, "indice_name")) ours["index"] = json["indice_name"];
  if (is_given(json, "num_result_ids")) ours["k"] = json["num_result_ids"];
  if (is_given(json, "num_images")) ours["k"] = json["num_images"];
  if (json.contains("deduplicate") && json["deduplicate"] == true) ours["distinct"] = kItsCopies;
  return query_from_json(dumped(ours));
}

std::string knn_of_answer(const std::string& answer) {
  auto out = ordered_json::array();
  const auto found = ordered_json::parse(answer);
  for (const auto& hit : found.at("hits")) {
    ordered_json words = words_of(hit);
    words["id"] = hit.at("row");
    words["similarity"] = hit.at("score");
    out.push_back(std::move(words));
  }
  return dumped(out);
}

std::string words_of_item(const std::string& item) {
  return dumped(words_of(ordered_json::parse(item)));
}

MetadataCall metadata_call(const std::string& body) {
  const auto json = body_of(body);
  MetadataCall call;
  if (is_given(json, "indice_name") && json["indice_name"].is_string()) call.index = json["indice_name"];
  const auto ids = json.value("ids", ordered_json::array());
  if (!ids.is_array() || ids.size() > static_cast<std::size_t>(kMostHits))
    throw Error(ErrorKind::kInvalid, "/ids: a list of at most " + std::to_string(kMostHits) + " is needed");
  for (const auto& id : ids) {
    if (!id.is_number_integer()) throw Error(ErrorKind::kInvalid, "/ids: whole numbers are needed");
    call.rows.push_back(id.get<std::int64_t>());
  }
  return call;
}

}  // namespace trireme::jobs
