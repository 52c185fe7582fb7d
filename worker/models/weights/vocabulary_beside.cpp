#include "worker/models/weights/vocabulary_beside.h"

#include <algorithm>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/base/log.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "jobs/store/published.h"
#include "worker/text/tokenizers/vocabulary_file.h"

namespace trireme::worker::models {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMostBytes = std::uint64_t{64} << 20;
constexpr std::size_t kClipLetters = 512, kClipMerges = 49152 - 256 - 2;

json read_json(const io::Path& path) {
  if (!io::is_file(path)) return {};
  json read = json::parse(io::read_file(path, kMostBytes), nullptr, false);
  return read.is_object() ? read : json();
}

// Token by token as ours, the first that has another id.
void compare_ids(const json& theirs, const std::vector<std::string>& tokens, std::size_t first,
                 const std::string& file, WeightFaults& faults) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto found = theirs.find(tokens[i]);
    const bool same = found != theirs.end() && found->is_number_integer() &&
                      found->get<std::int64_t>() == static_cast<std::int64_t>(first + i);
    if (same) continue;
    faults.add("vocabulary: in " + file + " \"" + printable(tokens[i], 80) + "\" has " +
               (found == theirs.end() ? "no id" : "the id " + found->dump()) +
               ", in the model's vocabulary the id " + std::to_string(first + i));
    return;
  }
}

std::vector<std::string> clip_tokens(const std::string& path) {
  auto lines = text::read_vocabulary_lines(path);
  if (!lines.empty()) lines.erase(lines.begin());
  lines.resize(std::min(lines.size(), kClipMerges));
  for (std::string& line : lines) std::erase(line, ' ');
  return lines;
}

// The merges of a file in their order, each written "a b"; none where there is no such file.
std::vector<std::string> merges_of_lines(const io::Path& path) {
  std::vector<std::string> merges;
  if (!io::is_file(path)) return merges;
  for (std::string& line : text::read_vocabulary_lines(path.string()))
    if (!line.empty() && !line.starts_with("#version")) merges.push_back(std::move(line));
  return merges;
}
std::vector<std::string> merges_of(const json& whole) {
  std::vector<std::string> merges;
  if (!whole.is_object()) return merges;
  const json found = whole.value(json::json_pointer("/model/merges"), json());
  for (const json& one : found) {
    if (one.is_string()) merges.push_back(one.get<std::string>());
    if (one.is_array() && one.size() == 2 && one[0].is_string() && one[1].is_string())
      merges.push_back(one[0].get<std::string>() + " " + one[1].get<std::string>());
  }
  return merges;
}

// Other merges make other tokens of the same words, whatever the ids are.
void compare_merges(const std::vector<std::string>& theirs, const std::string& vocabulary,
                    const std::string& file, WeightFaults& faults) {
  if (theirs.empty()) return;
  auto ours = text::read_vocabulary_lines(vocabulary);
  if (!ours.empty()) ours.erase(ours.begin());
  ours.resize(std::min(ours.size(), kClipMerges));
  const auto [mine, other] = std::ranges::mismatch(ours, theirs);
  if (mine == ours.end() && other == theirs.end()) return;
  const auto shown = [](const auto& at, const auto& list) {
    return at == list.end() ? std::string("nothing") : "\"" + printable(*at, 80) + "\"";
  };
  faults.add("vocabulary: merge " + std::to_string(mine - ours.begin() + 1) + " of " + file + " is " +
             shown(other, theirs) + ", the model's vocabulary has " + shown(mine, ours));
}

json vocabulary_of(const json& whole) {
  return whole.is_object() ? whole.value(json::json_pointer("/model/vocab"), json()) : json();
}

// Ids by token: of the file of the tokenizer's own program, else of the whole tokenizer.
void compare_with(const json& own, const io::Path& own_path, const json& whole, const io::Path& whole_path,
                  const std::vector<std::string>& tokens, std::size_t first, WeightFaults& faults) {
  if (own.is_object())
    compare_ids(own, tokens, first, own_path.string(), faults);
  else if (const json vocabulary = vocabulary_of(whole); vocabulary.is_object())
    compare_ids(vocabulary, tokens, first, whole_path.string(), faults);
}

json ids_of_lines(const io::Path& path) {
  if (!io::is_file(path)) return {};
  json ids = json::object();
  std::int64_t id = 0;
  for (const std::string& line : text::read_vocabulary_lines(path.string())) ids.emplace(line, id++);
  return ids;
}

}  // namespace

void check_vocabulary_beside(const io::Path& folder, const jobs::TokenizerSpec& words, WeightFaults& faults) {
  if (words.vocabulary.empty() || !jobs::vocabulary_stage(words).empty()) return;
  const std::string ours = jobs::resolve_vocabulary(words.vocabulary);
  if (words.kind == jobs::TokenizerKind::kSentencePiece) {
    for (const char* name : {"spiece.model", "tokenizer.model", "sentencepiece.bpe.model"})
      if (const io::Path path = folder / name;
          io::is_file(path) &&
          (io::size_of(path) != io::size_of(ours) || io::xxh3_of_file(path) != io::xxh3_of_file(ours)))
        faults.add("vocabulary: " + path.string() + " is another model than " + ours);
    return;
  }
  const io::Path whole_path = folder / "tokenizer.json";
  if (words.kind == jobs::TokenizerKind::kClipBpe) {
    const json whole = read_json(whole_path);
    const io::Path path = folder / "vocab.json";
    compare_with(read_json(path), path, whole, whole_path, clip_tokens(ours), kClipLetters, faults);
    compare_merges(merges_of_lines(folder / "merges.txt"), ours, (folder / "merges.txt").string(), faults);
    compare_merges(merges_of(whole), ours, whole_path.string(), faults);
    if (whole.contains("normalizer") && whole["normalizer"].dump().find("\"Lowercase\"") == std::string::npos)
      faults.add("vocabulary: " + whole_path.string() + " does not lower-case, as CLIP's tokenizer does");
  } else if (words.kind == jobs::TokenizerKind::kWordPiece) {
    const io::Path path = folder / "vocab.txt";
    compare_with(ids_of_lines(path), path, read_json(whole_path), whole_path,
                 text::read_vocabulary_lines(ours), 0, faults);
  }
}

}  // namespace trireme::worker::models
