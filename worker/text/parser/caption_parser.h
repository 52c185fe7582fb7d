// Scene graph of an English caption, as DiHT's complexity and action rules need it (METHODS 2.2): entities,
// (entity, relation, entity) and (entity, attribute) triples from tokens, tags and noun and verb chunks.
// What counts as what is decided here (README.md of this room has examples):
//   entity     a noun chunk, by its last noun; compounds are one entity; pronouns are none, someone is one.
//              "photo of X", "group of X" and the like stand for X.
//   attribute  an adjective or a number of a noun chunk, or an adjective said of it ("the dog is black").
//              Determiners do not count.
//   relation   verb with object, verb or noun with preposition and entity, owner and owned, X is Y, and a
//              verb alone (intransitive). A member that is no entity is -1.
//   action     a verb other than be, have and verbs of state (seem, contain, belong …), in any form but as
//              part of a noun chunk ("running shoes", "painted wall").
// Linear in the caption, at most kReadBytes of it. CaptionParser is thread-safe; a ParsedCaption is not.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "worker/text/parser/tagger.h"

namespace trireme::worker::text {

struct Entity {
  std::uint32_t head = 0;  // token
  bool animate = false;
};

struct Attribute {
  std::int32_t entity = 0;
  std::uint32_t token = 0;
};

enum class RelationKind : std::uint8_t { kVerb, kIntransitive, kPreposition, kIs, kHas };

struct Relation {
  std::int32_t subject = -1, object = -1;  // entities, -1 for none
  RelationKind kind = RelationKind::kVerb;
  std::int32_t verb = -1, preposition = -1;  // tokens, -1 for none
};

struct ParsedCaption {
  std::string lower;  // what the tokens point into
  std::vector<CaptionToken> tokens;
  std::vector<TaggedToken> words;
  std::vector<Entity> entities;
  std::vector<Attribute> attributes;
  std::vector<Relation> relations;
  std::vector<std::uint32_t> actions;  // tokens of the verbs that are actions

  // "cat: black, chase bird" … for people and tests: one line per entity, relation and attribute.
  std::string text() const;
};

class CaptionParser {
 public:
  explicit CaptionParser(std::shared_ptr<const Lexicon> lexicon) : tagger_(std::move(lexicon)) {}
  // Into `out`, whose memory is used again.
  void parse(std::string_view caption_utf8, ParsedCaption& out) const;

 private:
  Tagger tagger_;
};

// The most attributes and relations that any one entity takes part in; 0 without entities. With
// `count_intransitive` false a verb without object or preposition is no relation (METHODS 10.7).
std::int64_t complexity(const ParsedCaption& caption, bool count_intransitive);

}  // namespace trireme::worker::text
