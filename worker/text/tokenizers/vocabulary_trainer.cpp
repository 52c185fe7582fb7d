#include "worker/text/tokenizers/vocabulary_trainer.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>

#include "common/base/error.h"
#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

using Id = std::uint32_t;
constexpr std::string_view kPrefix = "##";

struct Pair {
  Id left = 0, right = 0;
  auto operator<=>(const Pair&) const = default;
};

// Where pairs stand, by open addressing.
class PairTable {
 public:
  PairTable() : slots_(1 << 12) {}

  std::uint32_t find_or_add(Pair pair) {
    if (2 * pairs_.size() >= slots_.size()) grow();
    std::uint32_t& slot = slot_of(pair);
    if (slot == 0) {
      pairs_.push_back({pair, 0, {}});
      slot = static_cast<std::uint32_t>(pairs_.size());
    }
    return slot - 1;
  }

  struct Entry {
    Pair pair;
    std::int64_t count = 0;            // over the corpus; of a merged pair what it was then
    std::vector<std::uint32_t> fresh;  // words in which it has appeared since it was last queued
  };
  Entry& operator[](std::uint32_t index) { return pairs_[index]; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(pairs_.size()); }

 private:
  std::uint32_t& slot_of(Pair pair) {
    const std::uint64_t key = std::uint64_t{pair.left} << 32 | pair.right;
    std::size_t at = (key * 0x9e3779b97f4a7c15ULL) >> 20 & (slots_.size() - 1);
    while (slots_[at] != 0 && pairs_[slots_[at] - 1].pair != pair) at = (at + 1) & (slots_.size() - 1);
    return slots_[at];
  }
  void grow() {
    slots_.assign(slots_.size() * 2, 0);
    for (std::uint32_t i = 0; i < pairs_.size(); ++i) slot_of(pairs_[i].pair) = i + 1;
  }

  std::vector<std::uint32_t> slots_;  // index + 1
  std::vector<Entry> pairs_;
};

struct Candidate {
  std::int64_t count = 0;
  Pair pair;
  std::uint32_t entry = 0;
  std::uint64_t sequence = 0;
  std::vector<std::uint32_t> words;
};

// The next to be merged is the greatest.
struct ComesLater {
  bool operator()(const Candidate& a, const Candidate& b) const {
    if (a.count != b.count) return a.count < b.count;
    if (a.pair != b.pair) return a.pair > b.pair;
    return a.sequence > b.sequence;
  }
};

class Trainer {
 public:
  Trainer(const std::vector<WordCount>& words, const VocabularyRules& rules) : rules_(rules) {
    for (const auto& mark : rules.marks) id_of(mark);
    add_characters(words);
    if (static_cast<std::int64_t>(pieces_.size()) > rules.size)
      throw Error(ErrorKind::kInvalid,
                  "a vocabulary of " + std::to_string(rules.size) + " pieces has no room for " +
                      std::to_string(pieces_.size()) + " marks and characters",
                  "raise size, or set most_characters to less than half of it");
    add_words(words);
  }

  std::vector<std::string> run(const std::function<void(std::size_t)>& stopped) {
    for (std::uint32_t i = 0; i < table_.size(); ++i) queue(i);
    while (static_cast<std::int64_t>(pieces_.size()) < rules_.size && !candidates_.empty()) {
      std::ranges::pop_heap(candidates_, ComesLater{});
      Candidate top = std::move(candidates_.back());
      candidates_.pop_back();
      const std::int64_t count = table_[top.entry].count;
      if (top.count != count) {  // it has become rarer, or more frequent, since it was queued
        top.count = count;
        if (count > 0) push(std::move(top));
        continue;
      }
      if (top.count < 1 || static_cast<std::uint64_t>(top.count) < rules_.min_count) break;
      merge(top);
      if (stopped) stopped(pieces_.size());
    }
    return std::move(pieces_);
  }

 private:
  Id id_of(const std::string& piece) {
    const auto [found, fresh] = ids_.try_emplace(piece, static_cast<Id>(pieces_.size()));
    if (fresh) pieces_.push_back(piece);
    return found->second;
  }

  void add_characters(const std::vector<WordCount>& words) {
    std::map<std::int32_t, std::uint64_t> counts;
    for (const auto& [word, count] : words)
      for (std::size_t at = 0; at < word.size();) counts[next_code_point(word, at)] += count;
    std::vector<std::pair<std::int32_t, std::uint64_t>> kept(counts.begin(), counts.end());
    if (rules_.most_characters && static_cast<std::int64_t>(kept.size()) > *rules_.most_characters) {
      std::ranges::stable_sort(kept, std::greater<>{}, [](const auto& entry) { return entry.second; });
      kept.resize(static_cast<std::size_t>(*rules_.most_characters));
      std::ranges::sort(kept);
    }
    const auto spelled = [](std::int32_t c) {
      std::string text;
      append_code_point(text, c);
      return text;
    };
    for (const auto& [c, count] : kept) start_of_[c] = id_of(spelled(c));
    std::set<std::int32_t> inside;
    for (const auto& [word, count] : words) {
      std::size_t at = 0;
      if (!word.empty()) next_code_point(word, at);
      while (at < word.size()) inside.insert(next_code_point(word, at));
    }
    for (const auto& [c, count] : kept)
      if (inside.contains(c)) inside_of_[c] = id_of(std::string(kPrefix) + spelled(c));
  }

  void add_words(const std::vector<WordCount>& words) {
    for (const auto& [word, count] : words) {
      std::vector<Id> symbols;
      for (std::size_t at = 0; at < word.size();) {
        const auto& ids = at == 0 ? start_of_ : inside_of_;
        const std::int32_t c = next_code_point(word, at);
        if (const auto found = ids.find(c); found != ids.end()) symbols.push_back(found->second);
      }
      if (symbols.size() < 2) continue;
      const auto index = static_cast<std::uint32_t>(words_.size());
      words_.push_back(std::move(symbols));
      counts_.push_back(static_cast<std::int64_t>(count));
      for (std::size_t i = 0; i + 1 < words_[index].size(); ++i)
        change({words_[index][i], words_[index][i + 1]}, index, +1);
    }
    touched_.clear();
  }

  void change(Pair pair, std::uint32_t word, int sign) {
    const std::uint32_t index = table_.find_or_add(pair);
    PairTable::Entry& entry = table_[index];
    entry.count += sign * counts_[word];
    if (sign < 0) return;
    if (entry.fresh.empty()) touched_.push_back(index);
    if (entry.fresh.empty() || entry.fresh.back() != word) entry.fresh.push_back(word);
  }

  void queue(std::uint32_t index) {
    PairTable::Entry& entry = table_[index];
    if (entry.count > 0) push({entry.count, entry.pair, index, sequence_++, std::move(entry.fresh)});
    entry.fresh = {};
  }

  void push(Candidate candidate) {
    candidates_.push_back(std::move(candidate));
    std::ranges::push_heap(candidates_, ComesLater{});
  }

  void merge(const Candidate& top) {
    const std::string& left = pieces_[top.pair.left];
    std::string_view right = pieces_[top.pair.right];
    if (right.starts_with(kPrefix)) right.remove_prefix(kPrefix.size());
    const Id made = id_of(left + std::string(right));
    for (const std::uint32_t word : top.words) merge_in(word, top.pair, made);
    for (const std::uint32_t index : touched_) queue(index);
    touched_.clear();
  }

  void merge_in(std::uint32_t word, Pair pair, Id made) {
    std::vector<Id>& symbols = words_[word];
    std::size_t out = 0;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      const bool here = i + 1 < symbols.size() && symbols[i] == pair.left && symbols[i + 1] == pair.right;
      if (!here) {
        symbols[out++] = symbols[i];
        continue;
      }
      if (out > 0) {
        change({symbols[out - 1], pair.left}, word, -1);
        change({symbols[out - 1], made}, word, +1);
      }
      if (i + 2 < symbols.size()) {
        change({pair.right, symbols[i + 2]}, word, -1);
        change({made, symbols[i + 2]}, word, +1);
      }
      symbols[out++] = made;
      ++i;
    }
    symbols.resize(out);
  }

  const VocabularyRules& rules_;
  std::vector<std::string> pieces_;
  std::unordered_map<std::string, Id> ids_;
  std::unordered_map<std::int32_t, Id> start_of_, inside_of_;
  std::vector<std::vector<Id>> words_;  // of two symbols or more
  std::vector<std::int64_t> counts_;
  PairTable table_;
  std::vector<std::uint32_t> touched_;
  std::vector<Candidate> candidates_;  // a heap
  std::uint64_t sequence_ = 0;
};

}  // namespace

std::vector<std::string> train_vocabulary(const std::vector<WordCount>& words, const VocabularyRules& rules,
                                          const std::function<void(std::size_t)>& stopped) {
  return Trainer(words, rules).run(stopped);
}

}  // namespace trireme::worker::text
