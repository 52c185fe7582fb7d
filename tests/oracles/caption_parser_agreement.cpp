// Agreement of the caption parser with link-grammar on real captions, for the table in worker/text/README.md:
//   zcat train.en.gz | awk 'NR % 29 == 0' | caption_parser_agreement [-v]
// One caption per line. Compared per caption that link-grammar parses whole, as it stands or as "This is a
// photo of …" (dialect headline): is there an action, and the set of words that are verbs (be, have, do and
// states left out). -v prints the captions that differ. Built with -DTRIREME_ORACLES=ON where
// liblink-grammar-dev is installed.
#include <cstring>
#include <iostream>
#include <set>
#include <string>

#include <link-grammar/link-includes.h>

#include "worker/text/parser/caption_parser.h"

namespace {

using Words = std::set<std::string>;

std::string bare(const char* word) {
  std::string text(word);
  if (const auto dot = text.find_last_of('.'); dot != std::string::npos && dot > 0) text.resize(dot);
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return text;
}

bool no_action(const std::string& word) {
  static const Words words = {
      "is",    "are",      "was",     "were",   "be",       "been",       "being",     "am",       "has",
      "have",  "had",      "having",  "do",     "does",     "did",        "'s",        "can",      "will",
      "seems", "contains", "appears", "appear", "becoming", "containing", "including", "featuring"};
  return words.contains(word);
}

// Verbs and participles of the best linkage; a participle before its noun (link A) is an adjective.
Words verbs_of(Linkage linkage) {
  Words verbs;
  std::set<std::size_t> adjectives;
  for (LinkIdx link = 0; link < linkage_get_num_links(linkage); ++link)
    if (linkage_get_link_label(linkage, link)[0] == 'A')
      adjectives.insert(linkage_get_link_lword(linkage, link));
  for (std::size_t i = 0; i < linkage_get_num_words(linkage); ++i) {
    const char* const word = linkage_get_word(linkage, i);
    const char* const dot = std::strrchr(word, '.');
    const std::string text = bare(word);
    if (dot != nullptr && (dot[1] == 'v' || dot[1] == 'g') && !adjectives.contains(i) && !no_action(text))
      verbs.insert(text);
  }
  return verbs;
}

bool parse(const std::string& text, Dictionary dictionary, Parse_Options options, Words& verbs) {
  Sentence sentence = sentence_create(text.c_str(), dictionary);
  const bool whole = sentence_parse(sentence, options) > 0;
  if (whole)
    if (Linkage linkage = linkage_create(0, sentence, options)) {
      verbs = verbs_of(linkage);
      linkage_delete(linkage);
    }
  sentence_delete(sentence);
  return whole;
}

}  // namespace

int main(int count, char** arguments) {
  const bool verbose = count > 1 && std::string(arguments[1]) == "-v";
  lg_error_set_handler(nullptr, nullptr);
  Dictionary dictionary = dictionary_create_lang("en");
  if (dictionary == nullptr) {
    std::cerr << "no English dictionary: install link-grammar-dictionaries-en\n";
    return 1;
  }
  Parse_Options options = parse_options_create();
  parse_options_set_verbosity(options, 0);
  parse_options_set_max_parse_time(options, 1);
  parse_options_set_linkage_limit(options, 100);
  parse_options_set_min_null_count(options, 0);
  parse_options_set_max_null_count(options, 0);
  parse_options_set_dialect(options, const_cast<char*>("headline"));
  const trireme::worker::text::CaptionParser parser(trireme::worker::text::Lexicon::standard());
  trireme::worker::text::ParsedCaption ours;
  double captions = 0, parsed = 0, same_action = 0, same_words = 0, both = 0, found = 0, listed = 0;
  for (std::string line; std::getline(std::cin, line);) {
    ++captions;
    Words theirs, mine;
    std::string noun_phrase = "This is a photo of " + line;
    if (!parse(line, dictionary, options, theirs) && !parse(noun_phrase, dictionary, options, theirs))
      continue;
    ++parsed;
    parser.parse(line, ours);
    for (const auto token : ours.actions) mine.insert(std::string(ours.words[token].token.word));
    same_action += mine.empty() == theirs.empty();
    same_words += mine == theirs;
    for (const auto& word : mine) both += theirs.contains(word);
    found += static_cast<double>(mine.size());
    listed += static_cast<double>(theirs.size());
    if (verbose && mine != theirs) {
      std::cout << line << "\n ";
      for (const auto& word : mine) std::cout << (theirs.contains(word) ? " " : " +") << word;
      for (const auto& word : theirs) std::cout << (mine.contains(word) ? "" : " -" + word);
      std::cout << "\n";
    }
  }
  std::cout << captions << " captions, " << 100 * parsed / captions
            << " % parsed whole by link-grammar; of these: action agrees " << 100 * same_action / parsed
            << " %, the same verbs " << 100 * same_words / parsed << " %; verbs: precision "
            << 100 * both / found << " %, recall " << 100 * both / listed << " % against link-grammar\n";
  parse_options_delete(options);
  dictionary_delete(dictionary);
}
