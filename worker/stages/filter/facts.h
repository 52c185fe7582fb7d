// What a filter's measuring step finds out about a sample, and the file in which it stands (facts in
// jobs/protocol/FORMAT.md): everything that any threshold may ask about, and no threshold.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/file.h"
#include "worker/data/tallies/near_clusters.h"

namespace trireme::worker::stages::filter {

struct CaptionFacts {
  std::int64_t words = 0;            // text::unigrams()
  std::int64_t images_per_text = 1;  // different images that share the text
  std::int64_t complexity = 0, complexity_without_intransitive = 0, actions = 0;  // text::CaptionParser
  std::string language;           // CLD2's code, "un" when it cannot tell
  std::int64_t rarest_count = 0;  // occurrences of the rarest word or pair of words …
  std::string rarest;             // … and which it is
};

struct ColumnValue {
  enum Kind { kMissing, kNumber, kText, kOther } kind = kMissing;
  double number = 0;
  std::string text;  // of kOther: the JSON type
};

using NearFact = data::NearMatch;

// Text in the picture: a line of it, and how many characters in a row each caption has of it.
struct SpottedFact {
  std::string text;
  double confidence = 0;
  std::vector<std::int64_t> overlaps;
};

struct SampleFacts {
  std::string decode_fault;            // a reason of worker/data/images/image.h, "" when the picture decodes
  std::int64_t width = 0, height = 0;  // of the header, in pixels
  std::vector<CaptionFacts> captions;  // empty: labelled, without text
  std::int64_t texts_per_image = 1;    // different texts of the same picture
  std::string key;
  std::map<std::string, ColumnValue> columns;  // members of .json and scores, those that rules ask about
  std::map<std::string, std::string> copies;   // "image", "text", "pair" -> the equal sample that comes first
  std::map<std::string, NearFact> near;  // "image", "embedding", "text" -> the kept member of its cluster
  std::optional<NearFact> against;       // first of its cluster in a data set of `against`
  std::vector<SpottedFact> spotted;
};

std::string facts_file(std::int64_t first, const std::vector<SampleFacts>& samples);

// Throws kDamaged naming file and line. `count` -1: whatever range the file holds.
std::vector<SampleFacts> read_facts(const io::Path& path, std::int64_t first = 0, std::int64_t count = -1);

// The value of a member of a JSON document; kMissing also when the document is none.
std::map<std::string, ColumnValue> column_values(std::string_view json,
                                                 const std::vector<std::string>& names);

}  // namespace trireme::worker::stages::filter
