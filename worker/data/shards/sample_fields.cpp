#include "worker/data/shards/sample_fields.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <nlohmann/json.hpp>

#include "jobs/layouts/readable_json.h"
#include "worker/data/shards/caption_text.h"
#include "worker/data/shards/sample_json.h"

namespace trireme::worker::data {
namespace {

// The member `name` of the object; of several the last one, as Python's json reads them.
bool member(std::string_view json, const std::string& name, simdjson::dom::element& found) {
  simdjson::dom::element root;
  simdjson::dom::object object;
  if (!parse_sample_json(json, root) || root.get(object) != simdjson::SUCCESS) return false;
  bool there = false;
  for (const auto [key, value] : object)
    if (key == name) {
      found = value;
      there = true;
    }
  return there && !found.is_null();
}

bool is_sentence(const simdjson::dom::element& value) {
  std::string_view text;
  return value.get(text) == simdjson::SUCCESS && text.find(' ') != std::string_view::npos;
}

// Both forms of the field as (concept, weight). False when malformed.
bool pairs_of(const simdjson::dom::element& field, std::vector<std::pair<std::string_view, double>>& pairs) {
  if (field.is_object()) {
    for (const auto [key, value] : simdjson::dom::object(field)) {
      double weight = 0;
      if (value.get(weight) != simdjson::SUCCESS || !std::isfinite(weight) || weight <= 0) return false;
      pairs.emplace_back(key, weight);
    }
    return true;
  }
  if (!field.is_array()) return false;
  for (const auto value : simdjson::dom::array(field)) {
    std::string_view text;
    if (value.get(text) != simdjson::SUCCESS) return false;
    pairs.emplace_back(text, 1.0);
  }
  return true;
}

}  // namespace

std::string text_field(std::string_view json, const std::string& name) {
  simdjson::dom::element field;
  std::string_view text;
  if (!member(json, name, field) || field.get(text) != simdjson::SUCCESS) return "";
  auto captions = read_caption(text).captions;
  return captions.empty() ? "" : std::move(captions.front());
}

std::vector<std::string> strings_at(std::string_view json, const std::string& name) {
  simdjson::dom::element field;
  std::vector<std::string> out;
  std::string_view text;
  if (!member(json, name, field)) return out;
  if (field.get(text) == simdjson::SUCCESS) out.emplace_back(text);
  if (field.is_array())
    for (const auto value : simdjson::dom::array(field))
      if (value.get(text) == simdjson::SUCCESS) out.emplace_back(text);
  return out;
}

std::vector<std::string> members_with_text(std::string_view json) {
  simdjson::dom::element root;
  std::vector<std::string> names;
  if (!parse_sample_json(json, root) || !root.is_object()) return names;
  for (const auto [key, value] : simdjson::dom::object(root)) {
    simdjson::dom::element first;
    const bool list = value.is_array() && value.at(0).get(first) == simdjson::SUCCESS;
    if (is_sentence(list ? first : value)) names.emplace_back(key);
  }
  return names;
}

std::string with_columns(std::string_view json, std::string_view columns) {
  using nlohmann::ordered_json;
  ordered_json whole = ordered_json::parse(jobs::readable_json(std::string(json)), nullptr, false);
  if (!whole.is_object()) return std::string(columns);
  const ordered_json more = ordered_json::parse(columns.begin(), columns.end(), nullptr, false);
  for (const auto& [name, value] : more.items())
    if (!whole.contains(name)) whole[name] = value;
  return whole.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

ConceptFault concept_field(std::string_view json, const std::string& name, const ConceptPlaces& places,
                           std::int64_t top_k, Concepts& concepts, std::int64_t& beyond) {
  concepts = {};
  simdjson::dom::element field;
  if (!member(json, name, field)) return ConceptFault::kMissing;
  std::vector<std::pair<std::string_view, double>> named;
  if (!pairs_of(field, named)) return ConceptFault::kMalformed;
  std::map<std::int64_t, double> weights;  // a concept that is named twice counts twice
  for (const auto& [text, weight] : named) {
    const auto place = places.find(text);
    if (place == places.end())
      ++beyond;
    else
      weights[place->second] += weight;
  }
  std::vector<std::pair<std::int64_t, double>> chosen(weights.begin(), weights.end());
  std::stable_sort(chosen.begin(), chosen.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (top_k > 0 && static_cast<std::int64_t>(chosen.size()) > top_k)
    chosen.resize(static_cast<std::size_t>(top_k));
  const double sum = std::accumulate(chosen.begin(), chosen.end(), 0.0,
                                     [](double so_far, const auto& one) { return so_far + one.second; });
  for (const auto& [index, weight] : chosen) {
    concepts.index.push_back(index);
    concepts.probability.push_back(weight / sum);
  }
  return chosen.empty() ? ConceptFault::kMissing : ConceptFault::kNone;
}

}  // namespace trireme::worker::data
