#include "worker/text/parser/wordnet.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "common/base/error.h"
#include "common/io/door.h"
#include "common/io/folder.h"

namespace trireme::worker::text {
namespace {

constexpr std::size_t kOffsetDigits = 8;

io::MappedFile open(const io::Path& path) {
  if (!io::is_file(path))
    throw Error(ErrorKind::kNotFound, "there is no file " + path.string(),
                "install Debian's wordnet-base, or point TRIREME_WORDNET to its folder");
  return io::MappedFile(path);
}

// The next field of a line, which is shortened.
std::string_view field(std::string_view& line) {
  const auto end = std::min(line.find(' '), line.size());
  const auto found = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return found;
}

std::int64_t number(std::string_view text, int base = 10) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, base);
  return value;
}

std::string_view line_at(std::string_view text, std::size_t at) {
  return text.substr(at, std::min(text.find('\n', at), text.size()) - at);
}

}  // namespace

WordNet::WordNet(const io::Path& folder)
    : nouns_{open(folder / "index.noun"), open(folder / "data.noun"), 'n'},
      adjectives_{open(folder / "index.adj"), open(folder / "data.adj"), 'a'} {}

WordNet WordNet::standard() {
  const char* folder = std::getenv("TRIREME_WORDNET");
  const io::Behind nothing(nullptr);  // the program's own
  return WordNet(folder != nullptr && *folder != 0 ? folder : TRIREME_WORDNET_FOLDER);
}

std::optional<Synset> WordNet::noun(std::string_view lemma) const {
  return find(nouns_, lemma);
}
std::optional<Synset> WordNet::adjective(std::string_view lemma) const {
  return find(adjectives_, lemma);
}
Synset WordNet::noun_at(std::int64_t offset) const {
  return read(nouns_, offset);
}

// Lines of an index are sorted by their bytes, "lemma pos synset_cnt p_cnt [symbol...] sense_cnt tagsense_cnt
// offset [offset...]"; a lemma of several words is joined by underscores. The licence comes first, indented.
std::optional<Synset> WordNet::find(const Class& kind, std::string_view lemma) {
  if (lemma.empty()) return std::nullopt;
  std::string key(lemma);
  std::ranges::replace(key, ' ', '_');
  const std::string_view text = kind.index.text();
  std::size_t low = 0, high = text.size();  // beginnings of lines
  while (low < high) {
    std::size_t middle = low + (high - low) / 2;
    while (middle > low && text[middle - 1] != '\n') --middle;
    std::string_view line = line_at(text, middle);
    const std::size_t next = std::min(middle + line.size() + 1, text.size());
    const std::string_view word = line.starts_with(' ') ? std::string_view() : field(line);
    if (word == key) {
      field(line), field(line);
      for (auto pointers = number(field(line)); pointers > 0; --pointers) field(line);
      field(line), field(line);
      return read(kind, number(field(line)));
    }
    if (word < key)
      low = next;
    else
      high = middle;
  }
  return std::nullopt;
}

// "offset file type w_cnt(hex) word lex_id [...] p_cnt [symbol offset pos source/target...] | gloss".
Synset WordNet::read(const Class& kind, std::int64_t offset) {
  const std::string_view text = kind.data.text();
  const auto at = static_cast<std::size_t>(std::max<std::int64_t>(offset, 0));
  std::string digits = std::to_string(offset);
  digits.insert(0, kOffsetDigits - std::min(kOffsetDigits, digits.size()), '0');
  if (at >= text.size() || !text.substr(at).starts_with(digits + " "))
    throw Error(ErrorKind::kDamaged, kind.data.path().string() + " has no synset at " + digits,
                "install WordNet 3.0, Debian's wordnet-base");
  std::string_view line = line_at(text, at);
  Synset made;
  made.id = digits + "-" + kind.letter;
  const auto bar = line.find(" | ");
  if (bar != std::string_view::npos) {
    const std::string_view gloss = line.substr(bar + 3);
    made.gloss = gloss.substr(0, std::min(gloss.find("; \""), gloss.size()));
    while (made.gloss.ends_with(' ')) made.gloss.pop_back();
  }
  field(line), field(line), field(line);
  for (auto words = number(field(line), 16); words > 0; --words) {
    std::string lemma(field(line));
    if (const auto marker = lemma.find('('); marker != std::string::npos)
      lemma.resize(marker);  // "(a)", "(p)"
    std::ranges::replace(lemma, '_', ' ');
    made.lemmas.push_back(std::move(lemma));
    field(line);
  }
  for (auto pointers = number(field(line)); pointers > 0; --pointers) {
    const std::string_view symbol = field(line), target = field(line);
    field(line), field(line);
    if (made.hypernym < 0 && symbol.starts_with('@')) made.hypernym = number(target);
  }
  return made;
}

}  // namespace trireme::worker::text
