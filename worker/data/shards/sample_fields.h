// What a sample's .json member says beside its caption (img2dataset's columns): a synthetic caption, and
// concepts with probabilities. Sidecars of later stages give the same two things by key. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::worker::data {

// The string at `name` of the JSON object, cleaned as captions are; "" when there is none.
std::string text_field(std::string_view json, const std::string& name);

// The string at `name`, or the strings of a list there, as they are; none when there is no such field.
std::vector<std::string> strings_at(std::string_view json, const std::string& name);
// The members of the object that hold text: strings of more than one word, or lists that begin with such.
std::vector<std::string> members_with_text(std::string_view json);
// `json` with the members of `columns` that it lacks; both are objects, `json` may be "".
std::string with_columns(std::string_view json, std::string_view columns);

// Concepts of one vocabulary, distinct, most probable first, summing to 1.
struct Concepts {
  std::vector<std::int64_t> index;
  std::vector<double> probability;
};

enum class ConceptFault { kNone, kMissing, kMalformed };

// Place of each concept in a vocabulary.
using ConceptPlaces = std::map<std::string, std::int64_t, std::less<>>;

// The field `name`: an object of concept to probability (any positive numbers), or a list of concepts, which
// share alike. The `top_k` most probable are kept (ties: first in the vocabulary; 0: all) and renormalised
// (METHODS 2.3, 10.6). `beyond` counts those that are not in the vocabulary; they are left out before the
// choice. kMissing: no such field, or nothing is left. kMalformed: another type, or a number that is not
// finite and positive.
ConceptFault concept_field(std::string_view json, const std::string& name, const ConceptPlaces& places,
                           std::int64_t top_k, Concepts& concepts, std::int64_t& beyond);

}  // namespace trireme::worker::data
