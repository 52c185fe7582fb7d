#include "worker/text/parser/tagger.h"

#include <algorithm>
#include <cmath>

namespace trireme::worker::text {
namespace {

using enum Tag;

constexpr std::size_t index_of(Tag tag) {
  return static_cast<std::size_t>(tag);
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
  const TagSteps& next = tag_steps();
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
