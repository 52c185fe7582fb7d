// Settings of an index stage, and how neighbours are looked for.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "jobs/specification/json/fields.h"

namespace trireme::jobs {

// kExact: every row is looked at. kApproximate: lists of 8-bit codes, of which a query looks at the nearest,
// and the exact scores of what they offer. kAuto: exact up to a size (200,000 rows of an index, 50,000 images
// of near_duplicates).
enum class SearchKind { kAuto, kExact, kApproximate };
constexpr std::array<std::string_view, 3> names_of(SearchKind) {
  return {"auto", "exact", "approximate"};
}

// map (embeddings of the trained model, then segments) and one merge: the searchable index.
struct IndexSettings {
  static constexpr const char* kKind = "index";
  std::string data;
  std::string model;  // as EvaluateSettings::model
  SearchKind search = SearchKind::kAuto;
  double least_recall = 0.95;
  std::optional<std::int64_t> lists;

  template <class Visitor>
  void visit(Visitor& v) {
    const char* const exact = unless(search != SearchKind::kExact, "an exact search has no lists");
    v.field("data", data, {.help = "data set", .required = true});
    v.field(
        "model", model,
        {.help = "what embeds it: a train stage among the needs (its name, or stage:<name>), or a name in "
                 "spec.models",
         .required = true});
    v.field("search", search,
            {.help = "exact: a query looks at every row; approximate: at the nearest lists of 8-bit codes, "
                     "and scores what they offer exactly; auto: approximate from 200000 rows",
             .added = true});
    v.field("least_recall", least_recall,
            {.help = "approximate: recall@10 against the exact search that so many lists are looked at for, "
                     "measured for pictures and for texts apart",
             .least = 0.5,
             .most = 1,
             .unread = exact,
             .added = true});
    v.field("lists", lists,
            {.help = "approximate: number of lists; null: twice the root of the number of rows",
             .least = 1,
             .most = 1e6,
             .quiet = true,
             .unread = exact});
  }
};

}  // namespace trireme::jobs
