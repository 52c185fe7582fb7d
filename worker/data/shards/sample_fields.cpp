#include "worker/data/shards/sample_fields.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <simdjson.h>

#include "worker/data/shards/caption_text.h"

namespace trireme::worker::data {
namespace {

constexpr std::size_t kJsonLimitBytes = std::size_t{1} << 20;

// The member `name` of the object; valid until the thread parses again.
bool member(std::string_view json, const std::string& name, simdjson::dom::element& found) {
  thread_local simdjson::dom::parser parser;
  if (json.empty() || json.size() > kJsonLimitBytes) return false;
  simdjson::dom::element root;
  if (parser.parse(json.data(), json.size(), /*realloc_if_needed=*/true).get(root) != simdjson::SUCCESS)
    return false;
  return root.at_key(name).get(found) == simdjson::SUCCESS && !found.is_null();
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
