#include "jobs/search/query.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/nearest_name.h"
#include "common/io/base64.h"

namespace trireme::jobs {
namespace {

using nlohmann::ordered_json;

[[noreturn]] void fault(const std::string& pointer, const std::string& what, const std::string& hint = "") {
  throw Error(ErrorKind::kInvalid, pointer + ": " + what, hint);
}

double number_at(const ordered_json& value, const std::string& pointer) {
  if (!value.is_number() || !std::isfinite(value.get<double>())) fault(pointer, "a finite number is needed");
  return value.get<double>();
}

std::int64_t whole_at(const ordered_json& value, const std::string& pointer, std::int64_t least,
                      std::int64_t most) {
  if (!value.is_number_integer() || value.get<double>() < static_cast<double>(least) ||
      value.get<double>() > static_cast<double>(most))
    fault(pointer,
          "a whole number from " + std::to_string(least) + " to " + std::to_string(most) + " is needed");
  return value.get<std::int64_t>();
}

std::string text_at(const ordered_json& value, const std::string& pointer, std::size_t most) {
  if (!value.is_string()) fault(pointer, "a string is needed");
  auto text = value.get<std::string>();
  if (text.size() > most) fault(pointer, "longer than " + std::to_string(most) + " bytes");
  return text;
}

bool flag_at(const ordered_json& value, const std::string& pointer) {
  if (!value.is_boolean()) fault(pointer, "true or false is needed");
  return value.get<bool>();
}

std::vector<std::string> values_at(const ordered_json& value, const std::string& pointer) {
  if (!value.is_array() || value.size() > 1000) fault(pointer, "a list of at most 1000 values is needed");
  std::vector<std::string> values;
  for (const auto& one : value) {
    if (!one.is_string() && !one.is_number()) fault(pointer, "values are strings or numbers");
    values.push_back(one.is_string() ? one.get<std::string>() : one.dump());
  }
  return values;
}

const ordered_json& object_at(const ordered_json& value, const std::string& pointer,
                              const std::vector<std::string>& known) {
  if (!value.is_object()) fault(pointer, "an object is needed");
  for (const auto& [name, unused] : value.items()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    if (name == "image_url")
      fault(pointer + "/image_url", "addresses in queries are never fetched", "send the picture as image");
    const std::string nearest = nearest_name(name, known);
    fault(pointer + "/" + name, "unknown field", nearest.empty() ? "" : "did you mean " + nearest + "?");
  }
  return value;
}

std::string picture_at(const ordered_json& value, const std::string& pointer) {
  const std::string text = text_at(value, pointer, kLargestPicture / 3 * 4 + 8);
  const auto bytes = io::from_base64(text);
  if (!bytes || bytes->empty()) fault(pointer, "a picture is sent as base64");
  if (bytes->size() > kLargestPicture) fault(pointer, "a picture has at most 10 MiB");
  return *bytes;
}

QueryPart part_at(const ordered_json& value, const std::string& pointer) {
  object_at(value, pointer, {"text", "image", "item", "embedding", "of", "weight", "label"});
  QueryPart part;
  int kinds = 0;
  for (const auto& [name, given] : value.items()) {
    const std::string here = pointer + "/" + name;
    const auto kind = from_name<QueryKind>(name);
    kinds += kind.has_value() ? 1 : 0;
    if (kind) part.kind = *kind;
    if (name == "weight") part.weight = number_at(given, here);
    if (name == "label") part.label = text_at(given, here, 1024);
    if (name == "text" || name == "item") {
      part.value = text_at(given, here, kLongestText);
      if (is_blank(part.value)) fault(here, "an empty query finds nothing");
    }
    if (name == "image") part.value = picture_at(given, here);
    if (name == "of") {
      const auto of = from_name<MadeOf>(text_at(given, here, 100));
      if (!of) fault(here, "one of images, texts and both is needed");
      part.of = *of;
    }
    if (name == "embedding") {
      if (!given.is_array() || given.empty() || given.size() > 65536)
        fault(here, "a list of numbers is needed");
      for (const auto& one : given) part.embedding.push_back(static_cast<float>(number_at(one, here)));
    }
  }
  if (kinds != 1) fault(pointer, "one of text, image, item and embedding is needed");
  if (value.contains("of") && part.kind != QueryKind::kEmbedding)
    fault(pointer + "/of", "is said of an embedding alone");
  if (part.weight == 0) fault(pointer + "/weight", "a part of weight 0 asks for nothing");
  return part;
}

Condition condition_at(const ordered_json& value, const std::string& pointer) {
  object_at(value, pointer, {"column", "least", "most", "one_of", "none_of", "keep_missing"});
  Condition condition;
  for (const auto& [name, given] : value.items()) {
    const std::string here = pointer + "/" + name;
    if (name == "column") condition.column = text_at(given, here, 1024);
    if (name == "least") condition.least = number_at(given, here);
    if (name == "most") condition.most = number_at(given, here);
    if (name == "one_of") condition.one_of = values_at(given, here);
    if (name == "none_of") condition.none_of = values_at(given, here);
    if (name == "keep_missing") condition.keep_missing = flag_at(given, here);
  }
  if (condition.column.empty()) fault(pointer + "/column", "a column's name is needed");
  if (!condition.least && !condition.most && condition.one_of.empty() && condition.none_of.empty())
    fault(pointer, "least, most, one_of or none_of is needed");
  return condition;
}

template <class Item, class Read>
std::vector<Item> list_at(const ordered_json& value, const std::string& pointer, std::size_t most,
                          const Read& read) {
  if (!value.is_array() || value.size() > most)
    fault(pointer, "a list of at most " + std::to_string(most) + " is needed");
  std::vector<Item> items;
  for (std::size_t i = 0; i < value.size(); ++i)
    items.push_back(read(value[i], pointer + "/" + std::to_string(i)));
  return items;
}

std::string digits(double number) {
  char text[40];
  return {text, std::to_chars(text, text + sizeof text, number).ptr};
}

ordered_json part_json(const QueryPart& part) {
  ordered_json json;
  const std::string name(name_of(part.kind));
  if (part.kind == QueryKind::kEmbedding)
    json[name] = part.embedding;
  else
    json[name] = part.kind == QueryKind::kImage ? io::base64(part.value) : part.value;
  if (part.of != MadeOf::kImages) json["of"] = name_of(part.of);
  if (part.weight != 1) json["weight"] = part.weight;
  if (!part.label.empty()) json["label"] = part.label;
  return json;
}

ordered_json condition_json(const Condition& condition) {
  ordered_json json = {{"column", condition.column}};
  if (condition.least) json["least"] = *condition.least;
  if (condition.most) json["most"] = *condition.most;
  if (!condition.one_of.empty()) json["one_of"] = condition.one_of;
  if (!condition.none_of.empty()) json["none_of"] = condition.none_of;
  if (condition.keep_missing) json["keep_missing"] = true;
  return json;
}

}  // namespace

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

SearchQuery query_from_json(std::string_view text) {
  const auto json = ordered_json::parse(text, nullptr, false);
  if (json.is_discarded()) throw Error(ErrorKind::kInvalid, "the query is not JSON");
  object_at(
      json, "",
      {"index", "model", "query", "filter", "k", "offset", "distinct", "least_recall", "exact", "rows"});
  SearchQuery query;
  for (const auto& [name, given] : json.items()) {
    const std::string here = "/" + name;
    if (name == "index") query.index = text_at(given, here, 1024);
    if (name == "model") query.model = text_at(given, here, 1024);
    if (name == "query") query.parts = list_at<QueryPart>(given, here, kMostParts, part_at);
    if (name == "filter") query.filter = list_at<Condition>(given, here, kMostConditions, condition_at);
    if (name == "k") query.k = whole_at(given, here, 1, kMostHits);
    if (name == "offset") query.offset = whole_at(given, here, 0, kMostHits);
    if (name == "distinct" && !given.is_null()) query.distinct = number_at(given, here);
    if (name == "least_recall" && !given.is_null()) query.least_recall = number_at(given, here);
    if (name == "exact") query.exact = flag_at(given, here);
    if (name == "rows") query.rows = flag_at(given, here);
  }
  if (query.parts.empty()) fault("/query", "what should be searched for?");
  if (query.offset + query.k > kMostHits)
    fault("/k", "offset and k together reach beyond " + std::to_string(kMostHits));
  return query;
}

std::string to_json(const SearchQuery& query) {
  ordered_json json;
  if (!query.index.empty()) json["index"] = query.index;
  if (!query.model.empty()) json["model"] = query.model;
  json["query"] = ordered_json::array();
  for (const auto& part : query.parts) json["query"].push_back(part_json(part));
  for (const auto& condition : query.filter) json["filter"].push_back(condition_json(condition));
  json["k"] = query.k;
  if (query.offset > 0) json["offset"] = query.offset;
  if (query.distinct) json["distinct"] = *query.distinct;
  if (query.least_recall) json["least_recall"] = *query.least_recall;
  if (query.exact) json["exact"] = true;
  if (query.rows) json["rows"] = true;
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::int64_t looked_for(const SearchQuery& query, std::int64_t own) {
  const std::int64_t wanted = query.offset + query.k;
  return query.distinct ? std::max(wanted + own, std::min<std::int64_t>(4 * wanted + 50, kMostHits))
                        : wanted + own;
}

MadeOf made_of(const std::vector<QueryPart>& parts) {
  bool images = false, texts = false;
  for (const auto& part : parts) {
    const bool said = part.kind == QueryKind::kEmbedding;
    texts = texts || part.kind == QueryKind::kText || (said && part.of != MadeOf::kImages);
    images = images || (part.kind != QueryKind::kText && !(said && part.of == MadeOf::kTexts));
  }
  return images && texts ? MadeOf::kBoth : texts ? MadeOf::kTexts : MadeOf::kImages;
}

std::vector<float> unit_sum(const std::vector<QueryPart>& parts,
                            const std::vector<std::vector<float>>& rows) {
  std::vector<double> sum(rows.front().size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (rows[i].size() != sum.size())
      throw Error(ErrorKind::kInvalid, "the parts of the query are embeddings of " +
                                           std::to_string(sum.size()) + " and of " +
                                           std::to_string(rows[i].size()) + " numbers");
    for (std::size_t d = 0; d < sum.size(); ++d) sum[d] += parts[i].weight * static_cast<double>(rows[i][d]);
  }
  const double norm = std::sqrt(std::inner_product(sum.begin(), sum.end(), sum.begin(), 0.0));
  if (!std::isfinite(norm) || norm < 1e-6)
    throw Error(ErrorKind::kInvalid,
                "the parts of the query cancel out: " + printable(query_text(parts), 200),
                "leave one of them out");
  std::vector<float> unit;
  for (const double value : sum) unit.push_back(static_cast<float>(value / norm));
  return unit;
}

std::string query_text(const std::vector<QueryPart>& parts) {
  std::string out;
  for (const auto& part : parts) {
    if (part.weight < 0) out += out.empty() ? "- " : " - ";
    if (part.weight > 0 && !out.empty()) out += " + ";
    if (std::abs(part.weight) != 1) out += digits(std::abs(part.weight)) + " × ";
    if (part.kind == QueryKind::kText)
      out += part.value;
    else if (part.kind == QueryKind::kItem)
      out += part.label.empty() ? part.value : part.label;
    else
      out += part.label.empty() ? std::string(name_of(part.kind)) : part.label;
  }
  return out;
}

Condition parse_condition(const std::string& text) {
  const Error bad(ErrorKind::kUsage, "'" + text + "' is not a condition on a column",
                  "for example width>=200, score<=0.5, lang=en or lang!=de");
  const std::size_t at = text.find_first_of("<>=!");
  if (at == std::string::npos || at == 0) throw bad;
  Condition condition;
  condition.column = text.substr(0, at);
  const std::string sign = text.substr(at, text[at] == '=' ? 1 : 2), value = text.substr(at + sign.size());
  if (sign == "=") {
    condition.one_of = {value};
  } else if (sign == "!=") {
    condition.none_of = {value};
  } else {
    double number = 0;
    const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), number);
    if ((sign != ">=" && sign != "<=") || failure != std::errc() || end != value.data() + value.size() ||
        !std::isfinite(number))
      throw bad;
    (sign == ">=" ? condition.least : condition.most) = number;
  }
  return condition;
}

}  // namespace trireme::jobs
