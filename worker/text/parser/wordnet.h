// Synsets of WordNet 3.0's files (Debian wordnet-base), looked up one at a time: what a concept links to, and
// the names of ImageNet's classes, whose ids are WordNet's. Thread-safe after construction.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/file.h"

namespace trireme::worker::text {

struct Synset {
  std::string id;                   // "02084071-n"; adjectives have -a
  std::vector<std::string> lemmas;  // "domestic dog": blanks for underscores
  std::string gloss;                // the definition, without examples
  std::int64_t hypernym = -1;       // offset of the first one, -1 for none
};

class WordNet {
 public:
  // `folder` holds index.noun, index.adj, data.noun, data.adj. Throws kNotFound naming the file.
  explicit WordNet(const io::Path& folder);
  static WordNet standard();  // in $TRIREME_WORDNET, else in the folder set at build time

  // The first (most frequent) sense of a lemma in lower case; nothing when it has none.
  std::optional<Synset> noun(std::string_view lemma) const;
  std::optional<Synset> adjective(std::string_view lemma) const;
  // The synset of nouns at that offset. Throws kDamaged when there is none.
  Synset noun_at(std::int64_t offset) const;

 private:
  struct Class {
    io::MappedFile index, data;
    char letter;
  };
  static std::optional<Synset> find(const Class& kind, std::string_view lemma);
  static Synset read(const Class& kind, std::int64_t offset);
  Class nouns_, adjectives_;
};

}  // namespace trireme::worker::text
