// The concepts that a caption names, for vocabularies and targets of concept heads (METHODS 2.3): "objects",
// the lemmas of the nouns that head an entity ("dogs" -> "dog"), and "attributes", the adjectives that the
// caption parser gives one (numbers are none). In lower case, each once per call, in alphabetical order.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "worker/text/parser/caption_parser.h"

namespace trireme::worker::text {

struct CaptionConcepts {
  std::vector<std::string> objects, attributes;
  const std::vector<std::string>& list(std::string_view name) const {
    return name == "objects" ? objects : attributes;
  }
};

// Thread-safe.
class ConceptReader {
 public:
  explicit ConceptReader(std::shared_ptr<const Lexicon> lexicon) : parser_(std::move(lexicon)) {}
  // Of all captions of a sample together.
  CaptionConcepts read(const std::vector<std::string>& captions) const;

 private:
  CaptionParser parser_;
};

}  // namespace trireme::worker::text
