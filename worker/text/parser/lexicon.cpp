#include "worker/text/parser/lexicon.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "common/base/error.h"
#include "common/io/door.h"
#include "common/io/folder.h"
#include "common/io/hash.h"

namespace trireme::worker::text {
namespace {

// How the occurrences of a lemma spread over its forms; rough shares of English text.
constexpr float kBaseShare = 0.35F, kThirdShare = 0.15F, kGerundShare = 0.2F, kPastShare = 0.3F;
constexpr float kSingularShare = 0.75F, kPluralShare = 0.25F;
constexpr std::size_t kLongestWord = 40;

template <class Visit>
void for_each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    visit(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

std::string_view field(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const auto end = std::min(line.find(' '), line.size());
  const auto out = line.substr(0, end);
  line.remove_prefix(end);
  return out;
}

std::size_t number(std::string_view text) {
  std::size_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

io::MappedFile open(const io::Path& file) {
  if (!io::is_file(file))
    throw Error(ErrorKind::kNotFound, "the lexicon file " + file.string() + " is not there",
                "install the package wordnet-base, or name its folder in TRIREME_WORDNET");
  return io::MappedFile(file);
}

// Files 05 (animal) and 18 (person) of WordNet's lexicographers; "08225426 14 n …".
bool animate_sense(std::string_view noun_data, std::size_t offset) {
  if (offset + 11 > noun_data.size()) return false;
  const auto file = noun_data.substr(offset + 9, 2);
  return file == "05" || file == "18";
}

bool doubled(std::string_view stem) {
  return stem.size() >= 3 && stem[stem.size() - 1] == stem[stem.size() - 2];
}

}  // namespace

Lexicon::Lexicon(const io::Path& folder) {
  places_.reserve(100'000);
  const io::MappedFile nouns = open(folder / "data.noun");
  read_index(folder / "index.noun", kNoun, nouns.text());
  read_index(folder / "index.verb", kVerb, {});
  read_index(folder / "index.adj", kAdjective, {});
  read_index(folder / "index.adv", kAdverb, {});
  read_counts(folder / "cntlist.rev");
  read_exceptions(folder / "noun.exc", kNoun);
  read_exceptions(folder / "verb.exc", kVerb);
}

std::shared_ptr<const Lexicon> Lexicon::standard() {
  static const std::shared_ptr<const Lexicon> lexicon = [] {
    const char* folder = std::getenv("TRIREME_WORDNET");
    const io::Behind nothing(nullptr);  // the program's own
    return std::make_shared<const Lexicon>(folder != nullptr && *folder != 0 ? folder
                                                                             : TRIREME_WORDNET_FOLDER);
  }();
  return lexicon;
}

Lexicon::Entry& Lexicon::entry(std::string_view word) {
  if (Entry* found = find(word)) return *found;
  Entry& fresh = entries_.emplace_back();
  fresh.word = word;
  places_.emplace(fresh.word, &fresh);
  return fresh;
}

Lexicon::Entry* Lexicon::find(std::string_view word) const {
  const auto found = places_.find(word);
  return found == places_.end() ? nullptr : found->second;
}

// "lemma pos synset_cnt p_cnt [ptr_symbol...] sense_cnt tagsense_cnt offset [offset...]"; phrases are left
// out.
void Lexicon::read_index(const io::Path& file, Class kind, std::string_view noun_data) {
  const io::MappedFile mapped = open(file);
  for_each_line(mapped.text(), [&](std::string_view line) {
    if (line.empty() || line[0] == ' ') return;
    const std::string_view word = field(line);
    if (word.find('_') != std::string_view::npos || word.size() > kLongestWord) return;
    Entry& made = entry(word);
    made.weights[kind] = 1;
    if (kind != kNoun) return;
    field(line), field(line);
    for (std::size_t pointers = number(field(line)); pointers > 0; --pointers) field(line);
    field(line), field(line);
    made.animate = animate_sense(noun_data, number(field(line)));
  });
}

// "inflected lemma [lemma...]".
void Lexicon::read_exceptions(const io::Path& file, Class kind) {
  const io::MappedFile mapped = open(file);
  for_each_line(mapped.text(), [&](std::string_view line) {
    const std::string_view form = field(line), lemma = field(line);
    const Entry* base = find(lemma);
    if (form.empty() || form == lemma || base == nullptr || base->weights[kind] == 0) return;
    entry(form).irregular[kind == kNoun ? 0 : 1] = base;
  });
}

// "lemma%class:file:id:: sense occurrences".
void Lexicon::read_counts(const io::Path& file) {
  const io::MappedFile mapped = open(file);
  for_each_line(mapped.text(), [&](std::string_view line) {
    const std::string_view key = field(line);
    field(line);
    const auto percent = key.find('%');
    if (percent == std::string_view::npos || percent + 1 >= key.size()) return;
    Entry* const found = find(key.substr(0, percent));
    const int kind = key[percent + 1] == '5' ? kAdjective : key[percent + 1] - '1';
    if (found == nullptr || kind < 0 || kind > 3 || found->weights[static_cast<std::size_t>(kind)] == 0)
      return;
    auto& weight = found->weights[static_cast<std::size_t>(kind)];
    weight = static_cast<std::uint16_t>(std::min<std::size_t>(weight + number(field(line)), 65535));
  });
}

void Lexicon::add_verb(const Entry* lemma, float WordReadings::*form, float share, WordReadings& out) const {
  if (lemma == nullptr || lemma->weights[kVerb] == 0) return;
  const float weight = share * static_cast<float>(lemma->weights[kVerb]);
  if (weight <= out.*form) return;
  out.*form = weight;
  out.verb_stem = lemma->word;
}

// Forms of -er and -est: small, large, big, heavy.
bool Lexicon::add_comparison(std::string_view word, WordReadings& out) const {
  std::string_view stem = word;
  if (stem.ends_with("est"))
    stem.remove_suffix(3);
  else if (stem.ends_with("er"))
    stem.remove_suffix(2);
  else
    return false;
  const std::string with_e = std::string(stem) + "e";
  const std::string with_y = stem.ends_with('i') ? std::string(stem.substr(0, stem.size() - 1)) + "y" : "";
  for (const std::string_view base : {stem, std::string_view(with_e), std::string_view(with_y),
                                      doubled(stem) ? stem.substr(0, stem.size() - 1) : std::string_view()}) {
    const Entry* found = base.size() < 2 ? nullptr : find(base);
    if (found == nullptr || found->weights[kAdjective] == 0) continue;
    out.adjective = std::max(out.adjective, 0.1F * static_cast<float>(found->weights[kAdjective]));
    return true;
  }
  return false;
}

void Lexicon::add_regular(std::string_view word, WordReadings& out) const {
  std::string other;
  const auto with = [&](std::size_t cut, std::string_view end) {
    other.assign(word.substr(0, word.size() - cut)).append(end);
    return find(other);
  };
  const auto noun = [&](const Entry* lemma) {
    if (lemma == nullptr || lemma->weights[kNoun] == 0) return;
    const float weight = kPluralShare * static_cast<float>(lemma->weights[kNoun]);
    if (weight <= out.plural) return;
    out.plural = weight;
    out.noun_stem = lemma->word;
    out.animate = lemma->animate;
  };
  if (word.ends_with('s') && !word.ends_with("ss")) {
    const bool es = word.ends_with("es"), ies = word.ends_with("ies");
    const Entry* const stems[] = {find(word.substr(0, word.size() - 1)), es ? with(2, "") : nullptr};
    for (const Entry* stem : stems) noun(stem), add_verb(stem, &WordReadings::verb_s, kThirdShare, out);
    if (ies) {
      const Entry* stem = with(3, "y");
      noun(stem), add_verb(stem, &WordReadings::verb_s, kThirdShare, out);
    }
  } else if (word.ends_with("men")) {
    noun(with(2, "an"));
  }
  for (const auto& [end, form, share] : {std::tuple<std::string_view, float WordReadings::*, float>{
                                             "ing", &WordReadings::gerund, kGerundShare},
                                         {"ed", &WordReadings::past, kPastShare}}) {
    if (!word.ends_with(end) || word.size() < end.size() + 2) continue;
    add_verb(with(end.size(), ""), form, share, out);
    add_verb(with(end.size(), "e"), form, share, out);
    if (doubled(word.substr(0, word.size() - end.size())))
      add_verb(with(end.size() + 1, ""), form, share, out);
    if (end == "ed" && word.ends_with("ied")) add_verb(with(3, "y"), form, share, out);
  }
}

WordReadings Lexicon::readings(std::string_view lower) const {
  WordReadings out;
  if (lower.size() > kLongestWord) return out;
  if (const Entry* found = find(lower)) {
    const auto weight = [&](Class kind) { return static_cast<float>(found->weights[kind]); };
    out.noun = kSingularShare * weight(kNoun);
    out.adjective = weight(kAdjective);
    out.adverb = weight(kAdverb);
    out.animate = found->animate;
    if (out.noun > 0) out.noun_stem = found->word;
    add_verb(found, &WordReadings::verb, kBaseShare, out);
    if (found->irregular[0] != nullptr) {
      const Entry& lemma = *found->irregular[0];
      out.plural = kPluralShare * static_cast<float>(lemma.weights[kNoun]);
      out.animate = lemma.animate;
      out.noun_stem = lemma.word;
    }
    if (found->irregular[1] != nullptr) {
      const bool s = lower.ends_with('s'), ing = lower.ends_with("ing");
      add_verb(found->irregular[1],
               s     ? &WordReadings::verb_s
               : ing ? &WordReadings::gerund
                     : &WordReadings::past,
               s     ? kThirdShare
               : ing ? kGerundShare
                     : kPastShare,
               out);
    }
  }
  if (lower.size() > 3) add_regular(lower, out);
  if (out.adjective == 0 && lower.size() > 4) add_comparison(lower, out);
  return out;
}

}  // namespace trireme::worker::text
