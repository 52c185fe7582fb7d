#include "worker/text/tagger.h"

#include <algorithm>
#include <cmath>

namespace trireme::worker::text {
namespace {

using enum Tag;

constexpr std::size_t index_of(Tag tag) {
  return static_cast<std::size_t>(tag);
}

struct Step {
  Tag from, to;
  float score;
};

// How well `to` follows `from`, in units of a natural logarithm; pairs that are not listed score 0. kStop
// stands for the beginning and the end too.
constexpr Step kSteps[] = {
    {kDeterminer, kNoun, 2},
    {kDeterminer, kPlural, 1.5F},
    {kDeterminer, kAdjective, 2},
    {kDeterminer, kName, 0.5F},
    {kDeterminer, kNumber, 1},
    {kDeterminer, kAdverb, -0.5F},
    {kDeterminer, kGerund, -2.5F},
    {kDeterminer, kPast, -3},
    {kDeterminer, kVerbBase, -5},
    {kDeterminer, kVerbS, -5},
    {kDeterminer, kPreposition, -3},
    {kDeterminer, kDeterminer, -3},
    {kDeterminer, kAuxiliary, -4},
    {kDeterminer, kConjunction, -4},
    {kDeterminer, kPronoun, -4},
    {kDeterminer, kStop, -4},
    {kDeterminer, kComma, -4},
    {kDeterminer, kModal, -4},
    {kDeterminer, kParticle, -5},
    {kDeterminer, kTo, -3},
    {kDeterminer, kSubordinator, -4},
    {kGenitive, kNoun, 2},
    {kGenitive, kPlural, 1.5F},
    {kGenitive, kAdjective, 1.5F},
    {kGenitive, kVerbBase, -5},
    {kGenitive, kVerbS, -5},
    {kGenitive, kGerund, -1.5F},
    {kGenitive, kPast, -3},
    {kGenitive, kPreposition, -2},
    {kGenitive, kDeterminer, -4},
    {kNumber, kNoun, 1.5F},
    {kNumber, kPlural, 2},
    {kNumber, kAdjective, 1.2F},
    {kNumber, kVerbBase, -2.5F},
    {kNumber, kVerbS, -3},
    {kNumber, kGerund, -0.5F},
    {kNumber, kPast, -0.5F},
    {kNumber, kPreposition, -0.3F},
    {kNumber, kDeterminer, -2},
    {kAdjective, kNoun, 2},
    {kAdjective, kPlural, 2},
    {kAdjective, kAdjective, 0.5F},
    {kAdjective, kVerbBase, -4},
    {kAdjective, kVerbS, -3},
    {kAdjective, kGerund, -1.3F},
    {kAdjective, kPast, -2},
    {kAdjective, kDeterminer, -2.5F},
    {kAdjective, kAuxiliary, -1.5F},
    {kAdjective, kAdverb, -1.5F},
    {kAdjective, kNumber, -1},
    {kAdjective, kPreposition, -0.5F},
    {kAdjective, kStop, -0.5F},
    {kAdjective, kPronoun, -2.5F},
    {kAdjective, kParticle, -2},
    {kNoun, kVerbS, 0.7F},
    {kNoun, kVerbBase, -3},
    {kNoun, kGerund, 1},
    {kNoun, kPast, 0.7F},
    {kNoun, kPreposition, 1},
    {kNoun, kNoun, 0.4F},
    {kNoun, kPlural, 0.4F},
    {kNoun, kConjunction, 0.5F},
    {kNoun, kStop, 0.5F},
    {kNoun, kComma, 0.5F},
    {kNoun, kAuxiliary, 1},
    {kNoun, kAdjective, -1.8F},
    {kNoun, kDeterminer, -1.5F},
    {kNoun, kPronoun, -1.5F},
    {kNoun, kNumber, -1},
    {kNoun, kAdverb, -0.3F},
    {kNoun, kParticle, -2},
    {kNoun, kModal, 0.5F},
    {kPlural, kVerbBase, 0.6F},
    {kPlural, kVerbS, -2.5F},
    {kPlural, kGerund, 1.2F},
    {kPlural, kPast, 0.8F},
    {kPlural, kPreposition, 1},
    {kPlural, kNoun, -1.5F},
    {kPlural, kPlural, -1.5F},
    {kPlural, kConjunction, 0.5F},
    {kPlural, kStop, 0.5F},
    {kPlural, kComma, 0.5F},
    {kPlural, kAuxiliary, 1},
    {kPlural, kAdjective, -1.8F},
    {kPlural, kDeterminer, -1.5F},
    {kPlural, kPronoun, -1.5F},
    {kPlural, kNumber, -1.5F},
    {kPlural, kAdverb, -0.3F},
    {kPlural, kParticle, -2},
    {kPlural, kModal, 0.5F},
    {kName, kName, 1.5F},
    {kName, kNoun, 0.3F},
    {kName, kVerbS, 0.7F},
    {kName, kVerbBase, -2.5F},
    {kName, kGerund, 0.5F},
    {kName, kPreposition, 0.7F},
    {kName, kAuxiliary, 1},
    {kName, kAdjective, -1.2F},
    {kName, kDeterminer, -1.5F},
    {kName, kParticle, -2},
    {kName, kNumber, 0.5F},
    {kName, kPast, 0.3F},
    {kPronoun, kVerbS, 1},
    {kPronoun, kVerbBase, 1},
    {kPronoun, kPast, 1},
    {kPronoun, kAuxiliary, 1.5F},
    {kPronoun, kModal, 1},
    {kPronoun, kNoun, -2.5F},
    {kPronoun, kPlural, -2.5F},
    {kPronoun, kAdjective, -1.5F},
    {kPronoun, kGerund, 0.3F},
    {kVerbBase, kDeterminer, 1.5F},
    {kVerbBase, kPreposition, 1},
    {kVerbBase, kParticle, 1},
    {kVerbBase, kVerbBase, -3},
    {kVerbBase, kVerbS, -4},
    {kVerbBase, kPast, -3},
    {kVerbBase, kGerund, -0.7F},
    {kVerbBase, kAuxiliary, -4},
    {kVerbBase, kPronoun, 0.5F},
    {kVerbBase, kTo, 0.5F},
    {kVerbBase, kNumber, 0.5F},
    {kVerbBase, kNoun, -0.4F},
    {kVerbS, kDeterminer, 1.5F},
    {kVerbS, kPreposition, 1},
    {kVerbS, kParticle, 1},
    {kVerbS, kVerbBase, -3},
    {kVerbS, kVerbS, -4},
    {kVerbS, kPast, -3},
    {kVerbS, kGerund, -0.5F},
    {kVerbS, kAuxiliary, -4},
    {kVerbS, kPronoun, 0.5F},
    {kVerbS, kTo, 0.5F},
    {kVerbS, kNumber, 0.5F},
    {kVerbS, kNoun, -0.3F},
    {kGerund, kDeterminer, 1.5F},
    {kGerund, kPreposition, 1},
    {kGerund, kParticle, 1},
    {kGerund, kVerbBase, -4},
    {kGerund, kVerbS, -2.5F},
    {kGerund, kPast, -2.5F},
    {kGerund, kGerund, -1},
    {kGerund, kAuxiliary, -1.5F},
    {kGerund, kPronoun, 0.5F},
    {kGerund, kTo, 0.5F},
    {kGerund, kNumber, 0.3F},
    {kGerund, kAdverb, 0.3F},
    {kPast, kPreposition, 1.5F},
    {kPast, kDeterminer, 0.8F},
    {kPast, kParticle, 0.8F},
    {kPast, kVerbBase, -4},
    {kPast, kVerbS, -3},
    {kPast, kPast, -2},
    {kPast, kAuxiliary, -3},
    {kPast, kGerund, -0.5F},
    {kPast, kNoun, -1},
    {kPast, kPlural, -1},
    {kPast, kAdverb, 0.3F},
    {kPast, kTo, 0.5F},
    {kAuxiliary, kGerund, 2.5F},
    {kAuxiliary, kPast, 1.8F},
    {kAuxiliary, kAdjective, 1},
    {kAuxiliary, kDeterminer, 1},
    {kAuxiliary, kPreposition, 0.5F},
    {kAuxiliary, kAdverb, 0.5F},
    {kAuxiliary, kNoun, -0.7F},
    {kAuxiliary, kVerbBase, -2.5F},
    {kAuxiliary, kVerbS, -4},
    {kAuxiliary, kModal, -3},
    {kAuxiliary, kPlural, -0.5F},
    {kAuxiliary, kStop, -1},
    {kModal, kVerbBase, 3},
    {kModal, kAuxiliary, 1.5F},
    {kModal, kAdverb, 0.5F},
    {kModal, kNoun, -3},
    {kModal, kVerbS, -4},
    {kModal, kPast, -3},
    {kModal, kGerund, -4},
    {kModal, kAdjective, -3},
    {kModal, kPlural, -3},
    {kTo, kVerbBase, 2.5F},
    {kTo, kDeterminer, 1.5F},
    {kTo, kNoun, 0},
    {kTo, kVerbS, -4},
    {kTo, kGerund, -1},
    {kTo, kPast, -4},
    {kTo, kAuxiliary, 0.5F},
    {kTo, kStop, -2},
    {kPreposition, kDeterminer, 2},
    {kPreposition, kNoun, 1},
    {kPreposition, kPlural, 1},
    {kPreposition, kAdjective, 1},
    {kPreposition, kNumber, 1},
    {kPreposition, kName, 1},
    {kPreposition, kGerund, -0.3F},
    {kPreposition, kVerbBase, -5},
    {kPreposition, kVerbS, -5},
    {kPreposition, kPast, -3},
    {kPreposition, kAuxiliary, -4},
    {kPreposition, kPronoun, 0.5F},
    {kPreposition, kStop, -2.5F},
    {kPreposition, kComma, -2.5F},
    {kPreposition, kPreposition, -1},
    {kPreposition, kAdverb, -1},
    {kPreposition, kConjunction, -2},
    {kPreposition, kTo, -2},
    {kPreposition, kModal, -4},
    {kPreposition, kParticle, -2},
    {kAdverb, kAdjective, 0.7F},
    {kAdverb, kGerund, 0.5F},
    {kAdverb, kPast, 0.3F},
    {kAdverb, kPreposition, 0.3F},
    {kAdverb, kNoun, -1.7F},
    {kAdverb, kPlural, -1.7F},
    {kAdverb, kDeterminer, 0},
    {kAdverb, kParticle, -1},
    {kAdverb, kVerbBase, -0.5F},
    {kParticle, kDeterminer, 1},
    {kParticle, kPreposition, 0.5F},
    {kParticle, kStop, 0.7F},
    {kParticle, kVerbBase, -3},
    {kParticle, kVerbS, -3},
    {kParticle, kNoun, -1},
    {kParticle, kConjunction, 0.5F},
    {kParticle, kTo, 0.3F},
    {kParticle, kComma, 0.5F},
    {kConjunction, kDeterminer, 0.7F},
    {kConjunction, kNoun, 0.5F},
    {kConjunction, kPlural, 0.5F},
    {kConjunction, kAdjective, 0.5F},
    {kConjunction, kGerund, 0.5F},
    {kConjunction, kConjunction, -3},
    {kConjunction, kStop, -2},
    {kConjunction, kVerbBase, -0.5F},
    {kConjunction, kNumber, 0.5F},
    {kSubordinator, kDeterminer, 0.7F},
    {kSubordinator, kGerund, 1},
    {kSubordinator, kPronoun, 1},
    {kSubordinator, kNoun, 0.3F},
    {kSubordinator, kVerbBase, -2},
    {kSubordinator, kVerbS, -2},
    {kRelative, kAuxiliary, 1.5F},
    {kRelative, kVerbS, 1.5F},
    {kRelative, kVerbBase, 0.5F},
    {kRelative, kPast, 1},
    {kRelative, kNoun, -1.5F},
    {kRelative, kPronoun, 0.5F},
    {kRelative, kStop, -2},
    {kRelative, kModal, 1},
    {kStop, kDeterminer, 1},
    {kStop, kNoun, 0.5F},
    {kStop, kPlural, 0.5F},
    {kStop, kNumber, 0.5F},
    {kStop, kAdjective, 0.7F},
    {kStop, kName, 0.5F},
    {kStop, kVerbBase, -1.8F},
    {kStop, kVerbS, -3},
    {kStop, kGerund, -0.3F},
    {kStop, kPast, -1.5F},
    {kStop, kAuxiliary, -0.5F},
    {kStop, kParticle, -1.5F},
    {kStop, kPronoun, 0.3F},
    {kStop, kRelative, -1},
    {kStop, kPreposition, 0},
    {kComma, kDeterminer, 0.7F},
    {kComma, kNoun, 0.3F},
    {kComma, kGerund, 0.5F},
    {kComma, kVerbBase, -1.5F},
    {kComma, kVerbS, -1},
    {kComma, kAdjective, 0.5F},
    {kComma, kPast, 0},
    {kComma, kName, 0.3F},
};

using Table = std::array<std::array<float, kTagCount>, kTagCount>;

const Table& steps() {
  static const Table table = [] {
    Table out{};
    for (const Step& step : kSteps) out[index_of(step.from)][index_of(step.to)] = step.score;
    return out;
  }();
  return table;
}

struct Candidates {
  struct One {
    Tag tag;
    float score;
  };
  std::array<One, 10> list;
  std::size_t count = 0;
  void add(Tag tag, float share) {
    if (share > 0 && count < list.size()) list[count++] = {tag, std::log(share)};
  }
};

bool one_of(std::string_view word, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](auto ending) { return word.ends_with(ending); });
}

// Words the lexicon does not know, by their endings.
void guess(const TaggedToken& word, Candidates& out) {
  const std::string_view text = word.token.word;
  const float name = word.token.capital ? 0.6F : 0.05F, other = 1 - name;
  out.add(kName, name);
  if (text.size() > 5 && text.ends_with("ing")) {
    out.add(kGerund, 0.6F * other), out.add(kNoun, 0.4F * other);
  } else if (text.size() > 4 && text.ends_with("ed")) {
    out.add(kPast, 0.5F * other), out.add(kAdjective, 0.5F * other);
  } else if (text.size() > 4 && text.ends_with("ly")) {
    out.add(kAdverb, other);
  } else if (text.size() > 5 && one_of(text, {"able", "ible", "ful", "ous", "ive", "ish", "less", "ical"})) {
    out.add(kAdjective, 0.8F * other), out.add(kNoun, 0.2F * other);
  } else if (text.size() > 3 && text.ends_with('s') && !text.ends_with("ss")) {
    out.add(kPlural, 0.6F * other), out.add(kNoun, 0.25F * other), out.add(kVerbS, 0.1F * other);
  } else {
    out.add(kNoun, 0.85F * other), out.add(kAdjective, 0.1F * other);
  }
}

// "red-haired", "five-year-old", "black-and-white", "close-up" and the like: by the last part.
void add_hyphenated(const TaggedToken& word, Candidates& out) {
  const std::string_view text = word.token.word;
  if (one_of(text, {"ed", "ing", "old", "style", "free", "white", "like", "colored", "coloured"})) {
    out.add(kAdjective, 0.8F), out.add(kNoun, 0.2F);
  } else {
    out.add(text.ends_with('s') ? kPlural : kNoun, 0.6F), out.add(kAdjective, 0.35F), out.add(kName, 0.05F);
  }
}

void add_open(const TaggedToken& word, const TaggedToken* before, Candidates& out) {
  WordReadings r = word.readings;
  // "woman drinking coffee": behind a person or an animal the verb is more likely than the noun.
  if (before != nullptr && before->readings.animate) r.gerund *= 3;
  if (!r.known()) {
    word.token.word.find('-') != std::string_view::npos ? add_hyphenated(word, out) : guess(word, out);
    return;
  }
  // A participle before a noun is an adjective, whatever the lexicon lists.
  const float participle = 0.25F * r.past + 0.12F * r.gerund;
  const float sum =
      r.noun + r.plural + r.verb + r.verb_s + r.gerund + r.past + r.adjective + r.adverb + participle + 0.5F;
  const auto share = [&](float weight) { return weight > 0 ? (weight + 0.05F) / sum : 0; };
  out.add(kNoun, share(r.noun));
  out.add(kPlural, share(r.plural));
  out.add(kVerbBase, share(r.verb));
  out.add(kVerbS, share(r.verb_s));
  out.add(kGerund, share(r.gerund));
  out.add(kPast, share(r.past));
  out.add(kAdjective, share(r.adjective + participle));
  out.add(kAdverb, share(r.adverb));
  if (word.token.capital) out.add(kName, before == nullptr ? 0.02F : 0.1F);
}

Tag punctuation_tag(std::string_view mark) {
  if (mark == "," || mark == "/") return kComma;
  if (mark == "&" || mark == "+") return kConjunction;
  if (mark == "\"" || mark == "'" || mark == "`" || mark == "#" || mark == "*" || mark == "\xE2\x80\x9C" ||
      mark == "\xE2\x80\x9D" || mark == "\xE2\x80\x99" || mark == "\xE2\x80\x98")
    return kInside;  // as if it were not there
  return kStop;
}

// The clitic of "man's": the verb of "man's riding" or the genitive of "man's hat".
void add_clitic(const TaggedToken& word, const TaggedToken* before, Candidates& out) {
  const std::string_view text = word.token.word;
  if (text == "n't") {
    out.add(kAdverb, 1);
  } else if (text.ends_with('s')) {
    const bool pronoun = before != nullptr && closed_word(before->token.word) != nullptr;
    out.add(kAuxiliary, pronoun ? 0.95F : 0.08F);
    out.add(kGenitive, pronoun ? 0.05F : 0.92F);
  } else {
    out.add(text.ends_with("ll") || text.ends_with('d') ? kModal : kAuxiliary, 1);
  }
}

Candidates candidates(const TaggedToken& word, const TaggedToken* before) {
  Candidates out;
  if (word.token.kind == TokenKind::kClitic) {
    add_clitic(word, before, out);
  } else if (word.token.kind == TokenKind::kPunctuation) {
    out.add(punctuation_tag(word.token.word), 1);
  } else if (word.token.kind == TokenKind::kNumber) {
    out.add(kNumber, 1);
  } else if (word.token.kind == TokenKind::kName) {
    out.add(kName, 1);
  } else if (const ClosedWord* closed = closed_word(word.token.word)) {
    out.add(closed->first, closed->share);
    if (closed->share < 1) out.add(closed->second, 1 - closed->share);
  } else {
    add_open(word, before, out);
  }
  if (out.count == 0) out.add(kNoun, 1);
  return out;
}

bool open_class(const CaptionToken& token) {
  return token.kind == TokenKind::kWord && closed_word(token.word) == nullptr;
}

struct Column {
  Candidates candidates;
  std::array<float, 10> best{};
  std::array<std::uint8_t, 10> from{};
};

}  // namespace

void Tagger::tag(const std::vector<CaptionToken>& tokens, std::vector<TaggedToken>& out) const {
  out.resize(tokens.size());
  thread_local std::vector<Column> columns;
  thread_local std::vector<std::size_t> places;  // tokens that take part
  columns.clear();
  places.clear();
  for (std::size_t i = 0; i < tokens.size();) {
    const std::size_t phrase = preposition_words(tokens, i);
    for (std::size_t j = i; j < i + phrase; ++j) {
      out[j] = {tokens[j], {}, kInside};
      if (open_class(tokens[j])) out[j].readings = lexicon_->readings(tokens[j].word);
    }
    Column column;
    column.candidates = phrase > 1 ? Candidates{} : candidates(out[i], i > 0 ? &out[i - 1] : nullptr);
    if (phrase > 1) column.candidates.add(kPreposition, 1);
    const bool there = column.candidates.list[0].tag != kInside;
    if (there) columns.push_back(column), places.push_back(i);
    i += phrase;
  }
  const Table& next = steps();
  for (std::size_t i = 0; i < columns.size(); ++i) {
    Column& here = columns[i];
    for (std::size_t c = 0; c < here.candidates.count; ++c) {
      const auto to = index_of(here.candidates.list[c].tag);
      float best = i == 0 ? next[index_of(kStop)][to] : -1e30F;
      for (std::size_t p = 0; i > 0 && p < columns[i - 1].candidates.count; ++p) {
        const float score =
            columns[i - 1].best[p] + next[index_of(columns[i - 1].candidates.list[p].tag)][to];
        if (score > best) best = score, here.from[c] = static_cast<std::uint8_t>(p);
      }
      here.best[c] = best + here.candidates.list[c].score;
    }
  }
  if (columns.empty()) return;
  std::size_t choice = 0;
  const Column& last = columns.back();
  const auto ending = [&](std::size_t c) {
    return last.best[c] + next[index_of(last.candidates.list[c].tag)][index_of(kStop)];
  };
  for (std::size_t c = 1; c < last.candidates.count; ++c)
    if (ending(c) > ending(choice)) choice = c;
  for (std::size_t i = columns.size(); i-- > 0;) {
    out[places[i]].tag = columns[i].candidates.list[choice].tag;
    choice = columns[i].from[choice];
  }
}

}  // namespace trireme::worker::text
