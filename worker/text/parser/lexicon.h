// Which parts of speech an English word can be, and how often: WordNet 3.0's index files, irregular forms
// and SemCor counts (Debian wordnet-base), read once into one hash table, with regular inflections undone at
// look-up. Thread-safe after construction.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <boost/unordered/unordered_flat_map.hpp>

#include "common/io/file.h"
#include "worker/text/byte_hash.h"

namespace trireme::worker::text {

// What a written form can be. Weights are occurrences in SemCor, shared out over the inflections of a lemma
// and never 0 for a reading that the lexicon allows; 0 means it does not.
struct WordReadings {
  float noun = 0, plural = 0;
  float verb = 0, verb_s = 0, gerund = 0, past = 0;
  float adjective = 0, adverb = 0;
  bool animate = false;        // its first sense as a noun is a person or an animal
  std::string_view verb_stem;  // lemma of the verb readings; lives as long as the lexicon
  std::string_view noun_stem;  // lemma of the noun readings
  bool known() const { return noun + plural + verb + verb_s + gerund + past + adjective + adverb > 0; }
};

class Lexicon {
 public:
  // `folder` holds index.*, data.noun, *.exc and cntlist.rev. Throws kNotFound naming the file and the
  // package.
  explicit Lexicon(const io::Path& folder);
  Lexicon(const Lexicon&) = delete;
  Lexicon& operator=(const Lexicon&) = delete;

  // The one in $TRIREME_WORDNET, else in the folder set at build time; read at the first call.
  static std::shared_ptr<const Lexicon> standard();

  // `lower`: the word in lower case.
  WordReadings readings(std::string_view lower) const;
  std::int64_t size() const { return static_cast<std::int64_t>(entries_.size()); }

 private:
  enum Class { kNoun, kVerb, kAdjective, kAdverb };
  struct Entry {
    std::string word;
    std::array<std::uint16_t, 4> weights{};  // per class: 0, or 1 + occurrences
    bool animate = false;
    std::array<const Entry*, 2> irregular{};  // noun, verb: the lemma, if any
  };
  Entry& entry(std::string_view word);
  Entry* find(std::string_view word) const;
  void read_index(const io::Path& file, Class kind, std::string_view noun_data);
  void read_exceptions(const io::Path& file, Class kind);
  void read_counts(const io::Path& file);
  void add_regular(std::string_view word, WordReadings& out) const;
  void add_verb(const Entry* lemma, float WordReadings::*form, float share, WordReadings& out) const;
  bool add_comparison(std::string_view word, WordReadings& out) const;

  std::deque<Entry> entries_;  // stay where they are
  boost::unordered_flat_map<std::string_view, Entry*, ByteHash, std::equal_to<>> places_;
};

}  // namespace trireme::worker::text
