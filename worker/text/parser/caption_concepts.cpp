#include "worker/text/parser/caption_concepts.h"

#include <algorithm>
#include <set>

namespace trireme::worker::text {
namespace {

bool is_word(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return (c >= 'a' && c <= 'z') || (c & 0x80) != 0; }) &&
         std::ranges::none_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

CaptionConcepts ConceptReader::read(const std::vector<std::string>& captions) const {
  std::set<std::string, std::less<>> objects, attributes;
  ParsedCaption parsed;
  for (const auto& caption : captions) {
    parser_.parse(caption, parsed);
    for (const Entity& entity : parsed.entities) {
      const TaggedToken& head = parsed.words[entity.head];
      const std::string_view stem = head.readings.noun_stem;
      const std::string_view word = stem.empty() ? head.token.word : stem;
      if (is_word(word)) objects.emplace(word);
    }
    for (const Attribute& attribute : parsed.attributes) {
      const TaggedToken& one = parsed.words[attribute.token];
      if (one.tag != Tag::kNumber && is_word(one.token.word)) attributes.emplace(one.token.word);
    }
  }
  return {{objects.begin(), objects.end()}, {attributes.begin(), attributes.end()}};
}

}  // namespace trireme::worker::text
