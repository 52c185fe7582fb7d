#include "worker/text/parser/chunks.h"

#include <algorithm>
#include <array>

namespace trireme::worker::text {
namespace {

using enum Tag;

template <std::size_t N>
bool listed(const std::array<std::string_view, N>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// "photo of a dog", "group of people": the picture and the crowd are left out, the dog and the people stay.
constexpr std::array<std::string_view, 50> kClassifiers = {
    "photo",     "photograph", "picture", "image",    "images",   "photos",       "pictures", "photographs",
    "shot",      "snapshot",   "closeup", "close-up", "view",     "illustration", "drawing",  "sketch",
    "rendering", "render",     "video",   "footage",  "portrait", "screenshot",   "clipart",  "vector",
    "thumbnail", "scene",      "stock",   "group",    "groups",   "couple",       "pair",     "pairs",
    "bunch",     "set",        "lot",     "lots",     "number",   "variety",      "series",   "collection",
    "piece",     "pieces",     "kind",    "type",     "crowd",    "close",        "part",     "plenty",
    "row",       "rows"};

// Living beings that the lexicon files elsewhere.
constexpr std::array<std::string_view, 17> kPersons = {
    "someone", "somebody", "something", "everyone", "everybody", "others", "anyone", "anybody", "people",
    "family",  "couple",   "team",      "crowd",    "police",    "herd",   "flock",  "crew"};

bool noun_like(Tag tag) {
  return tag == kNoun || tag == kPlural || tag == kName;
}

bool inside_noun_chunk(Tag tag) {
  return noun_like(tag) || tag == kDeterminer || tag == kNumber || tag == kAdjective || tag == kGenitive;
}

class Chunker {
 public:
  Chunker(ParsedCaption& caption, std::vector<Chunk>& chunks)
      : caption_(caption), words_(caption.words), chunks_(chunks) {}

  void run() {
    for (std::size_t at = 0; at < words_.size();) at = step(at);
  }

 private:
  Tag tag(std::size_t at) const { return at < words_.size() ? words_[at].tag : kStop; }
  std::string_view word(std::size_t at) const { return words_[at].token.word; }

  std::size_t skip_inside(std::size_t at) const {
    while (at < words_.size() && words_[at].tag == kInside) ++at;
    return at;
  }

  Chunk& add(ChunkKind kind, std::size_t token) {
    Chunk chunk;
    chunk.kind = kind;
    chunk.token = static_cast<std::uint32_t>(token);
    chunks_.push_back(chunk);
    return chunks_.back();
  }

  std::size_t step(std::size_t at) {
    switch (tag(at)) {
      case kDeterminer:
      case kNumber:
      case kAdjective:
      case kNoun:
      case kPlural:
      case kName:
      case kGenitive:
        return noun_chunk(at);
      case kAdverb: {
        const std::size_t next = skip_inside(at + 1);
        return tag(next) == kAdjective ? noun_chunk(next) : next;
      }
      case kVerbBase:
      case kVerbS:
      case kGerund:
      case kPast:
      case kAuxiliary:
      case kModal:
        return verb_chunk(at);
      case kTo:
        if (tag(at + 1) == kVerbBase || tag(at + 1) == kAuxiliary) return verb_chunk(at + 1);
        add(ChunkKind::kPreposition, at);
        return at + 1;
      case kPronoun:
        return pronoun(at);
      case kPreposition:
        add(ChunkKind::kPreposition, at);
        return at + 1;
      case kConjunction:
        add(ChunkKind::kConjunction, at);
        return at + 1;
      case kSubordinator:
        add(ChunkKind::kSubordinator, at);
        return at + 1;
      case kRelative:
        add(ChunkKind::kRelative, at);
        return at + 1;
      case kComma:
        add(ChunkKind::kComma, at);
        return at + 1;
      case kStop:
        add(ChunkKind::kStop, at);
        return at + 1;
      case kParticle:
      case kInside:
        return at + 1;
    }
    return at + 1;
  }

  std::size_t pronoun(std::size_t at) {
    if (word(at) == "there") {
      add(ChunkKind::kThere, at);
    } else if (listed(kPersons, word(at))) {
      entity_chunk(at, at, at + 1);
    } else if (word(at) != "here") {
      add(ChunkKind::kPronoun, at);
    }
    return at + 1;
  }

  // "black and white dog", "small, brown dog": a joint between two adjectives of one noun.
  bool joins_adjectives(std::size_t at) const {
    if ((tag(at) != kConjunction && tag(at) != kComma) || at == 0 || tag(at - 1) != kAdjective) return false;
    std::size_t next = at + 1;
    if (tag(next) != kAdjective) return false;
    while (tag(next) == kAdjective || tag(next) == kConjunction || tag(next) == kComma) ++next;
    return noun_like(tag(next));
  }

  // [first, behind) holds the chunk's words, `noun` its last noun (or `behind` when it has none).
  std::size_t noun_chunk(std::size_t first) {
    std::size_t at = first, noun = words_.size();
    while (at < words_.size()) {
      if (tag(at) == kInside || joins_adjectives(at)) {
        ++at;
        continue;
      }
      if (tag(at) == kAdverb && noun == words_.size() && tag(at + 1) == kAdjective) {
        ++at;
        continue;
      }
      if (!inside_noun_chunk(tag(at))) break;
      // After its noun a chunk goes on with nouns and an owner's mark only, and with numbers after names.
      const bool after_noun = noun < words_.size() && tag(noun) != kGenitive;
      if (after_noun && !noun_like(tag(at)) && tag(at) != kGenitive &&
          !(tag(at) == kNumber && tag(noun) == kName))
        break;
      if (noun_like(tag(at)) || tag(at) == kGenitive) noun = at;
      ++at;
    }
    if (noun == words_.size()) return without_noun(first, at);
    entity_chunk(first, noun, at);
    return at;
  }

  // Determiners, numbers and adjectives alone: "two playing chess", "the dog is black and white".
  std::size_t without_noun(std::size_t first, std::size_t behind) {
    bool adjective = false;
    for (std::size_t at = first; at < behind; ++at)
      if (tag(at) == kAdjective) add(ChunkKind::kAdjective, at), adjective = true;
    if (adjective) return behind;
    const std::size_t head = behind - 1;
    const bool stands_alone = tag(head) == kNumber
                                  ? words_[head].token.kind == TokenKind::kWord
                                  : word(head) == "another" || word(head) == "both" || word(head) == "some" ||
                                        word(head) == "several" || word(head) == "many";
    if (stands_alone) {
      Chunk& chunk = add(ChunkKind::kNoun, head);
      chunk.entity = new_entity(head, true);
    } else {
      add(ChunkKind::kPronoun, head);
    }
    return behind;
  }

  std::int32_t new_entity(std::size_t head, bool animate) {
    caption_.entities.push_back({static_cast<std::uint32_t>(head), animate});
    return static_cast<std::int32_t>(caption_.entities.size() - 1);
  }

  bool classifier(std::size_t noun, std::size_t behind) const {
    const std::size_t next = skip_inside(behind);
    return next < words_.size() && word(next) == "of" && listed(kClassifiers, word(noun));
  }

  // An entity for the last noun, and for every owner before it.
  void entity_chunk(std::size_t first, std::size_t noun, std::size_t behind) {
    std::size_t start = first;
    std::int32_t owner = -1;
    for (std::size_t at = first; at <= noun; ++at) {
      const bool owns = tag(at) == kGenitive;
      if (!owns && at != noun) continue;
      if (owns && at == first) {
        start = at + 1;
        continue;
      }
      const std::size_t head = owns ? at - 1 : noun;
      if (!owns && classifier(head, behind)) {
        caption_.relations.erase(
            std::remove_if(caption_.relations.begin(), caption_.relations.end(),
                           [&](const Relation& r) { return owner >= 0 && r.object == owner; }),
            caption_.relations.end());
        add(ChunkKind::kPronoun, head).past = true;  // `past`: a classifier, see relations
        return;
      }
      const std::int32_t made = new_entity(head, animate(head));
      for (std::size_t a = start; a < head; ++a)
        if (tag(a) == kAdjective || tag(a) == kNumber)
          caption_.attributes.push_back({made, static_cast<std::uint32_t>(a)});
      if (owner >= 0) caption_.relations.push_back({owner, made, RelationKind::kHas, -1, -1});
      owner = made;
      start = at + 1;
      if (at == noun) break;
    }
    if (owner < 0) return;
    Chunk& chunk = add(ChunkKind::kNoun, caption_.entities[static_cast<std::size_t>(owner)].head);
    chunk.entity = owner;
  }

  bool animate(std::size_t head) const {
    return words_[head].readings.animate ||
           (tag(head) == kName && words_[head].token.kind == TokenKind::kWord) ||
           listed(kPersons, word(head));
  }

  // Auxiliaries, adverbs and verbs in a row: "is being slowly chased", "trying to catch".
  std::size_t verb_chunk(std::size_t first) {
    std::size_t at = first, main = words_.size(), auxiliary = words_.size();
    bool be = false, modal = false;
    while (at < words_.size()) {
      const Tag here = tag(at);
      if (here == kInside) {
        ++at;
      } else if (here == kAuxiliary || here == kModal) {
        if (main < words_.size()) break;
        auxiliary = at;
        modal = modal || here == kModal;
        be = be || is_be(word(at));
        ++at;
      } else if (here == kAdverb) {
        if (main == words_.size() && tag(at + 1) == kAdjective) break;  // "is very old"
        ++at;
      } else if (here == kVerbBase || here == kVerbS || here == kGerund || here == kPast) {
        if (main < words_.size()) break;
        main = at++;
        if (tag(at) == kTo && tag(at + 1) == kVerbBase) at = (main = at + 1) + 1;  // "trying to catch"
      } else {
        break;
      }
    }
    while (tag(at) == kParticle) ++at;
    const bool lone = main == words_.size();
    Chunk& chunk = add(ChunkKind::kVerb, lone ? auxiliary : main);
    chunk.finite = auxiliary < words_.size() || tag(main) == kVerbS || tag(main) == kVerbBase;
    chunk.has = lone && !be && !modal;
    chunk.copula = lone && be;
    chunk.past = !lone && tag(main) == kPast;
    chunk.passive = chunk.past && be;
    return at;
  }

  static bool is_be(std::string_view word) {
    return word == "is" || word == "are" || word == "was" || word == "were" || word == "be" ||
           word == "been" || word == "being" || word == "am" || word == "isn" || word == "aren" ||
           word == "wasn" || word == "weren" || word.ends_with("'s") || word.ends_with("re") ||
           word.ends_with("\x99s");
  }

  ParsedCaption& caption_;
  const std::vector<TaggedToken>& words_;
  std::vector<Chunk>& chunks_;
};

}  // namespace

void make_chunks(ParsedCaption& caption, std::vector<Chunk>& chunks) {
  chunks.clear();
  Chunker(caption, chunks).run();
}

}  // namespace trireme::worker::text
