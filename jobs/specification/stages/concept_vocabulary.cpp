#include "jobs/specification/stages/concept_vocabulary.h"

#include <set>

#include "common/base/error.h"
#include "jobs/specification/json/json_document.h"
#include "jobs/specification/json/names.h"

namespace trireme::jobs {
namespace {

constexpr const char* kFormat = "trireme-concepts";
constexpr std::int64_t kVersion = 1;
constexpr std::size_t kLongestFile = std::size_t{256} << 20;

[[noreturn]] void refuse(const std::string& where, const std::string& what, const std::string& hint) {
  throw Error(ErrorKind::kInvalid, where + ": " + what, hint);
}

std::string text_at(const Json& object, std::string_view key) {
  const Json* found = object.find(key);
  return found != nullptr && found->is(Json::Type::kString) ? found->text : "";
}

Concept concept_of(const Json& entry, const std::string& where) {
  Concept made;
  if (entry.is(Json::Type::kString)) {
    made.name = entry.text;
  } else {
    made.name = text_at(entry, "concept");
    made.wordnet = text_at(entry, "wordnet");
    made.gloss = text_at(entry, "gloss");
    if (const Json* count = entry.find("count"); count != nullptr && count->is(Json::Type::kInteger))
      made.count = count->integer;
  }
  if (made.name.empty()) refuse(where, "a concept without a name", "each is {\"concept\": \"dog\", …}");
  return made;
}

ConceptVocabulary list_of(const std::string& name, const Json& entries, const std::string& file) {
  const std::string where = file + ", vocabulary " + quoted(name);
  if (!entries.is(Json::Type::kArray)) refuse(where, "is no list", "list the concepts");
  ConceptVocabulary list{name, {}};
  std::set<std::string> seen;
  for (const Json& entry : entries.items) {
    list.concepts.push_back(concept_of(entry, where));
    if (!seen.insert(list.concepts.back().name).second)
      refuse(where, quoted(list.concepts.back().name) + " stands twice", "leave one of them out");
  }
  if (list.size() < 2)
    refuse(where, "has " + std::to_string(list.size()) + " concepts, where a classifier needs two",
           "lower min_count, or add concepts");
  return list;
}

}  // namespace

const ConceptVocabulary* ConceptVocabularies::find(std::string_view name) const {
  for (const auto& list : lists)
    if (list.name == name) return &list;
  return nullptr;
}

std::string to_json(const ConceptVocabularies& vocabularies) {
  std::string text = "{\"format\": \"" + std::string(kFormat) + "\", \"version\": 1,";
  if (!vocabularies.teacher.empty()) text += " \"teacher\": " + dump_json(Json(vocabularies.teacher)) + ",";
  text += "\n \"vocabularies\": {";
  const char* before = "\n  ";
  for (const auto& list : vocabularies.lists) {
    text += before + dump_json(Json(list.name)) + ": [";
    const char* between = "\n   ";
    for (const Concept& one : list.concepts) {
      Json entry = Json::object().set("concept", one.name);
      if (one.count >= 0) entry.set("count", one.count);
      if (!one.wordnet.empty()) entry.set("wordnet", one.wordnet).set("gloss", one.gloss);
      text += between + dump_json(entry);
      between = ",\n   ";
    }
    text += "]";
    before = ",\n  ";
  }
  return text + "}}\n";
}

ConceptVocabularies concept_vocabularies_from_json(std::string_view text, const std::string& where) {
  std::vector<SpecFault> faults;
  const Json root = parse_json(text, faults, {kLongestFile, 8});
  if (!faults.empty())
    refuse(where, "is no valid JSON: " + faults[0].pointer + " " + faults[0].detail, "look at that place");
  const Json* version = root.find("version");
  if (text_at(root, "format") != kFormat || version == nullptr || version->integer != kVersion)
    refuse(where, "holds no concept vocabularies of version 1",
           "a concept_vocabulary stage leaves such a file");
  const Json* lists = root.find("vocabularies");
  if (lists == nullptr || !lists->is(Json::Type::kObject) || lists->items.empty())
    refuse(where, "has no vocabularies", "name at least one list of concepts");
  ConceptVocabularies made;
  made.teacher = text_at(root, "teacher");
  for (std::size_t i = 0; i < lists->items.size(); ++i) {
    if (!good_name(lists->keys[i], false))
      refuse(where, quoted(lists->keys[i]) + " is no name of a vocabulary",
             "use a-z, 0-9, '_' and '-', at most 64");
    made.lists.push_back(list_of(lists->keys[i], lists->items[i], where));
  }
  return made;
}

}  // namespace trireme::jobs
