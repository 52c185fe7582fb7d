// Tagged tokens -> the pieces that relations are read off: noun and verb chunks, prepositions, joints.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/text/parser/caption_parser.h"

namespace trireme::worker::text {

enum class ChunkKind : std::uint8_t {
  kNoun,       // an entity
  kPronoun,    // takes the place of an entity and is none
  kThere,      // there is …
  kVerb,       // a verb group
  kAdjective,  // outside a noun chunk
  kPreposition,
  kConjunction,
  kSubordinator,
  kRelative,
  kComma,
  kStop,
};

struct Chunk {
  ChunkKind kind = ChunkKind::kStop;
  std::int32_t entity = -1;  // kNoun
  std::uint32_t token = 0;   // head noun, main verb, preposition …
  bool finite = false;       // kVerb: has an auxiliary or is no participle
  bool copula = false;       // kVerb: be without another verb
  bool has = false;          // kVerb: have without another verb
  bool passive = false;      // kVerb: be and a participle
  bool past = false;         // kVerb: its last word is a participle or past
};

// Cuts `caption.words` into `chunks`; fills entities, attributes of noun chunks and relations of owners.
void make_chunks(ParsedCaption& caption, std::vector<Chunk>& chunks);

}  // namespace trireme::worker::text
