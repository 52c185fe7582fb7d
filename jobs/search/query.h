// What a search asks for, as JSON on the wire and in batch files (docs/search.md has every field): parts
// added and subtracted, conditions on columns, which page of the hits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/enum_names.h"

namespace trireme::jobs {

enum class QueryKind { kText, kImage, kItem, kEmbedding };
constexpr std::array<std::string_view, 4> names_of(QueryKind) {
  return {"text", "image", "item", "embedding"};
}

// What an embedding was made of: texts lie elsewhere than pictures, and an index promises something else of
// them.
enum class MadeOf { kImages, kTexts, kBoth };
constexpr std::array<std::string_view, 3> names_of(MadeOf) {
  return {"images", "texts", "both"};
}

// Added with its weight; a negative one subtracts.
struct QueryPart {
  QueryKind kind = QueryKind::kText;
  double weight = 1;
  std::string value;  // the text, the bytes of the picture, or the id of an indexed item
  std::string label;  // of a picture: what people call it (its file's name)
  std::vector<float> embedding;
  MadeOf of = MadeOf::kImages;  // of an embedding
  bool operator==(const QueryPart&) const = default;
};

// All that is given holds. Text is compared as it is; a number is named by its shortest digits ("3", "0.5").
struct Condition {
  std::string column;
  std::optional<double> least, most;
  std::vector<std::string> one_of, none_of;
  bool keep_missing = false;  // a sample without the column passes
  bool operator==(const Condition&) const = default;
};

inline constexpr std::int64_t kMostHits = 10000;
inline constexpr std::size_t kMostParts = 64, kMostConditions = 64, kLongestText = 8192,
                             kLargestPicture = 10U << 20;

struct SearchQuery {
  std::string index;  // name of a served index; "": the only one
  std::string model;  // refuse unless it is the index's (Engine::model); "": whatever it is
  std::vector<QueryPart> parts;
  std::vector<Condition> filter;
  std::int64_t k = 10, offset = 0;     // hits [offset, offset + k), together at most kMostHits
  std::optional<double> distinct;      // a hit this near (cosine) to a better one is left out
  std::optional<double> least_recall;  // refuse unless so much recall was measured for the index
  bool exact = false;                  // look at every row
  bool rows = false;                   // hits with their embeddings
  bool operator==(const SearchQuery&) const = default;
};

// Throws kInvalid naming the field by its JSON pointer; a field that nothing reads is a fault, and so are
// weights and embeddings that are not finite. A part of image_url is refused: no address is ever fetched.
SearchQuery query_from_json(std::string_view json);
std::string to_json(const SearchQuery& query);

// "a dog + 2 × cat.jpg - snow"
std::string query_text(const std::vector<QueryPart>& parts);

// Hits to ask an index for: the `own` items that the query names, and copies, are left out afterwards.
std::int64_t looked_for(const SearchQuery& query, std::int64_t own);
MadeOf made_of(const std::vector<QueryPart>& parts);

// The weighted sum of the parts' embeddings (in their order), of norm 1, in float64. Throws kInvalid where
// they cancel out or are of several widths.
std::vector<float> unit_sum(const std::vector<QueryPart>& parts, const std::vector<std::vector<float>>& rows);

bool is_blank(const std::string& text);

// "width>=200", "lang=en", "lang!=de", "score<=0.5". Throws kUsage.
Condition parse_condition(const std::string& text);

}  // namespace trireme::jobs
