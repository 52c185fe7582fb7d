// The closed-class words of English, as captions use them.
#include <algorithm>
#include <array>

#include "worker/text/parser/tagger.h"

namespace trireme::worker::text {
namespace {

using enum Tag;

struct Group {
  Tag first, second;
  float share;
  std::string_view words;  // separated by blanks
};

constexpr std::array kGroups = {
    Group{kDeterminer, kDeterminer, 1,
          "a an the this these those every each no my your our their its his some any another both either "
          "neither several many few all what whatever such much"},
    Group{kDeterminer, kPronoun, 0.9F, "her"},
    Group{kRelative, kDeterminer, 0.7F, "that"},
    Group{kNumber, kNumber, 1,
          "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
          "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred "
          "thousand million dozens hundreds thousands"},
    Group{kPronoun, kPronoun, 1,
          "i you he she it we they me him us them himself herself itself themselves myself yourself "
          "someone somebody something anyone anybody anything everyone everybody everything nobody nothing "
          "others mine yours hers theirs none there here"},
    Group{kAuxiliary, kAuxiliary, 1,
          "is are was were be been being am isn aren wasn weren ain has have had having hasn haven hadn "
          "does did doesn didn"},
    Group{kAuxiliary, kVerbBase, 0.7F, "do don"},
    Group{kModal, kModal, 1, "can could will would shall should may might must cannot won wouldn couldn"},
    Group{kTo, kTo, 1, "to"},
    Group{
        kPreposition, kPreposition, 1,
        "of in on at with from by for into onto near beside besides between among amongst against during "
        "under "
        "underneath beneath behind beyond towards toward without within upon via atop amid amidst alongside "
        "above below inside outside per despite versus vs than throughout unlike until aboard opposite"},
    Group{kPreposition, kParticle, 0.8F, "through along across around over past about after before by since"},
    Group{kParticle, kPreposition, 0.6F, "up down off out"},
    Group{kParticle, kAdverb, 0.6F, "away together apart back forward aside upside"},
    Group{kPreposition, kVerbBase, 0.85F, "like"},
    Group{kConjunction, kConjunction, 1, "and or & nor plus"},
    Group{kSubordinator, kSubordinator, 1, "while as when because if but where whilst although though so"},
    Group{kRelative, kRelative, 1, "who which whose whom"},
    Group{kAdverb, kAdverb, 1,
          "not n't very too also just only never always often almost nearly how why then now again "
          "still already even quite rather really ever soon once twice maybe perhaps however online"},
};

struct Phrase {
  std::array<std::string_view, 4> words;
};

constexpr std::array kPhrases = {
    Phrase{{"in", "front", "of"}},
    Phrase{{"on", "top", "of"}},
    Phrase{{"next", "to"}},
    Phrase{{"out", "of"}},
    Phrase{{"off", "of"}},
    Phrase{{"close", "to"}},
    Phrase{{"on", "to"}},
    Phrase{{"in", "between"}},
    Phrase{{"in", "to"}},
    Phrase{{"because", "of"}},
    Phrase{{"along", "with"}},
    Phrase{{"such", "as"}},
    Phrase{{"instead", "of"}},
    Phrase{{"inside", "of"}},
    Phrase{{"outside", "of"}},
    Phrase{{"as", "well", "as"}},
    Phrase{{"at", "the", "top", "of"}},
    Phrase{{"ahead", "of"}},
    Phrase{{"at", "the", "end", "of"}},
    Phrase{{"on", "the", "side", "of"}},
    Phrase{{"up", "to"}},
    Phrase{{"in", "the", "middle", "of"}},
    Phrase{{"on", "the", "back", "of"}},
    Phrase{{"across", "from"}},
    Phrase{{"to", "the", "left", "of"}},
    Phrase{{"to", "the", "right", "of"}},
    Phrase{{"left", "of"}},
    Phrase{{"right", "of"}},
    Phrase{{"on", "the", "edge", "of"}},
    Phrase{{"according", "to"}},
    Phrase{{"away", "from"}},
    Phrase{{"down", "from"}},
    Phrase{{"over", "to"}},
    Phrase{{"full", "of"}},
    Phrase{{"at", "the", "bottom", "of"}},
};

// Words of every group, sorted.
const std::vector<ClosedWord>& closed_words() {
  static const std::vector<ClosedWord> sorted = [] {
    std::vector<ClosedWord> out;
    for (const Group& group : kGroups)
      for (std::string_view rest = group.words; !rest.empty();) {
        const auto end = std::min(rest.find(' '), rest.size());
        out.push_back({rest.substr(0, end), group.first, group.second, group.share});
        rest.remove_prefix(std::min(end + 1, rest.size()));
      }
    std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.word < b.word; });
    return out;
  }();
  return sorted;
}

}  // namespace

const ClosedWord* closed_word(std::string_view lower) {
  if (lower.size() > 10) return nullptr;
  const auto& words = closed_words();
  const auto found = std::lower_bound(words.begin(), words.end(), lower,
                                      [](const ClosedWord& a, std::string_view b) { return a.word < b; });
  return found != words.end() && found->word == lower ? &*found : nullptr;
}

std::size_t preposition_words(const std::vector<CaptionToken>& tokens, std::size_t at) {
  std::size_t best = 1;
  for (const Phrase& phrase : kPhrases) {
    if (phrase.words[0] != tokens[at].word) continue;
    std::size_t count = 1;
    while (count < 4 && !phrase.words[count].empty() && at + count < tokens.size() &&
           tokens[at + count].word == phrase.words[count])
      ++count;
    if (count == 4 || phrase.words[count].empty()) best = std::max(best, count);
  }
  return best;
}

}  // namespace trireme::worker::text
