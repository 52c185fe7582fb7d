// Vocabularies of concepts as a file (FORMAT.md "Concept vocabularies"): what a concept_vocabulary stage
// leaves, and what people edit and pin. Order is that of a classifier's outputs. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::jobs {

struct Concept {
  std::string name;
  std::int64_t count = -1;     // samples that have it; -1: not said
  std::string wordnet, gloss;  // synset of its first sense, "02084071-n"; "" where WordNet has none
};

struct ConceptVocabulary {
  std::string name;  // "objects", "attributes"
  std::vector<Concept> concepts;
  std::int64_t size() const { return static_cast<std::int64_t>(concepts.size()); }
};

struct ConceptVocabularies {
  std::vector<ConceptVocabulary> lists;
  std::string teacher;  // hash of who gives probabilities over them; "" for a vocabulary alone
  const ConceptVocabulary* find(std::string_view name) const;  // nullptr when there is none
};

// One concept a line.
std::string to_json(const ConceptVocabularies& vocabularies);

// `where` names the file in errors. Only names are needed; a concept may also be a string alone. Throws
// kInvalid saying which list and concept: fewer than two, an empty or a repeated one, another version.
ConceptVocabularies concept_vocabularies_from_json(std::string_view text, const std::string& where);

}  // namespace trireme::jobs
