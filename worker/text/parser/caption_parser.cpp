#include "worker/text/parser/caption_parser.h"

#include <algorithm>
#include <array>

#include "worker/text/parser/chunks.h"

namespace trireme::worker::text {
namespace {

// Verbs that tell a state and no action.
constexpr std::array<std::string_view, 14> kStates = {"seem", "appear",  "become",  "contain",  "include",
                                                      "own",  "consist", "belong",  "resemble", "mean",
                                                      "lack", "exist",   "feature", "require"};

// Members of one list that take part in relations; keeps nonsense linear.
constexpr std::size_t kLongestList = 16;

using Entities = std::vector<std::int32_t>;

// Reads the chunks from left to right. A clause has subjects; a verb waits for objects; a preposition waits
// for the entity behind it and hangs on the verb or on the entities before it.
class RelationReader {
 public:
  RelationReader(ParsedCaption& caption, const std::vector<Chunk>& chunks)
      : caption_(caption), chunks_(chunks) {}

  void run() {
    for (at_ = 0; at_ < chunks_.size(); ++at_) {
      const Chunk& chunk = chunks_[at_];
      switch (chunk.kind) {
        case ChunkKind::kNoun:
          noun(chunk.entity);
          break;
        case ChunkKind::kPronoun:
          pronoun(chunk);
          break;
        case ChunkKind::kThere:
          end_clause();
          break;
        case ChunkKind::kVerb:
          verb(chunk);
          break;
        case ChunkKind::kAdjective:
          adjective(chunk);
          break;
        case ChunkKind::kPreposition:
          preposition(chunk);
          break;
        case ChunkKind::kStop:
          end_clause();
          break;
        case ChunkKind::kSubordinator:
          subordinate_ = true;
          joined_ = false;
          preposition_ = -1;
          break;
        case ChunkKind::kConjunction:
        case ChunkKind::kComma:
          joined_ = true;
          break;
        case ChunkKind::kRelative:
          relative_ = true;
          break;
      }
    }
    end_verb();
  }

 private:
  enum class Role { kNone, kSubject, kObject, kPrepositional };

  bool animate(const Entities& list) const {
    return std::any_of(list.begin(), list.end(),
                       [&](auto e) { return caption_.entities[static_cast<std::size_t>(e)].animate; });
  }

  std::string_view word(std::int32_t token) const {
    return token < 0 ? std::string_view() : caption_.words[static_cast<std::size_t>(token)].token.word;
  }

  ChunkKind next_kind() const { return at_ + 1 < chunks_.size() ? chunks_[at_ + 1].kind : ChunkKind::kStop; }

  void relate(std::int32_t subject, std::int32_t object, RelationKind kind, std::int32_t verb,
              std::int32_t preposition) {
    if (subject < 0 && object < 0) return;
    caption_.relations.push_back({subject, object, kind, verb, preposition});
    if (verb >= 0 && verb == verb_) ++verb_relations_;
  }

  // One relation per subject, or one without any.
  void relate_all(const Entities& subjects, std::int32_t object, RelationKind kind, std::int32_t verb,
                  std::int32_t preposition) {
    if (subjects.empty()) relate(-1, object, kind, verb, preposition);
    for (const auto subject : subjects)
      if (subject != object) relate(subject, object, kind, verb, preposition);
  }

  RelationKind verb_kind() const {
    return copula_ ? RelationKind::kIs : has_ ? RelationKind::kHas : RelationKind::kVerb;
  }

  // A verb without object or preposition.
  void end_verb() {
    if (verb_ >= 0 && verb_relations_ == 0 && !copula_ && !has_)
      for (const auto subject : verb_subjects_)
        caption_.relations.push_back({subject, -1, RelationKind::kIntransitive, verb_, -1});
    verb_ = -1;
    verb_relations_ = 0;
    open_ = copula_ = has_ = passive_ = false;
  }

  void end_clause() {
    end_verb();
    subjects_.clear();
    verb_subjects_.clear();
    last_.clear();
    governors_.clear();
    fronted_.clear();
    role_ = Role::kNone;
    preposition_ = -1;
    joined_ = subordinate_ = relative_ = false;
  }

  void noun(std::int32_t entity) {
    if (preposition_ >= 0) {
      behind_preposition(entity);
    } else if (joined_ && role_ != Role::kNone && !starts_clause(entity)) {
      coordinate(entity);
    } else if (verb_ >= 0 && open_ && !subordinate_ && !joined_) {
      relate_all(verb_subjects_, entity, verb_kind(), verb_, -1);
      open_ = next_kind() == ChunkKind::kNoun && !starts_clause_at(at_ + 1);
      last_ = {entity};
      role_ = Role::kObject;
    } else {
      new_subject(entity);
    }
    joined_ = false;
  }

  void new_subject(std::int32_t entity) {
    end_verb();
    subjects_ = {entity};
    verb_subjects_ = {};
    last_ = {entity};
    role_ = Role::kSubject;
    subordinate_ = relative_ = false;
    for (const auto& [preposition, object] : fronted_)
      relate(entity, object, RelationKind::kPreposition, -1, preposition);
    fronted_.clear();
  }

  void behind_preposition(std::int32_t entity) {
    if (passive_ && word(preposition_) == "by" && verb_ >= 0) {
      relate_all({entity}, verb_subjects_.empty() ? -1 : verb_subjects_.front(), RelationKind::kVerb, verb_,
                 -1);
      for (std::size_t i = 1; i < verb_subjects_.size(); ++i)
        relate(entity, verb_subjects_[i], RelationKind::kVerb, verb_, -1);
    } else if (governed_by_verb_) {
      relate_all(verb_subjects_, entity, verb_kind(), verb_, preposition_);
    } else if (governors_.empty()) {
      fronted_.emplace_back(preposition_, entity);
    } else {
      relate_all(governors_, entity, RelationKind::kPreposition, -1, preposition_);
    }
    last_preposition_ = preposition_;
    last_ = {entity};
    role_ = governors_.empty() && !governed_by_verb_ ? Role::kNone : Role::kPrepositional;
    preposition_ = -1;
    open_ = false;
  }

  // "a man and a woman": the second one has the role of the first.
  void coordinate(std::int32_t entity) {
    if (last_.size() >= kLongestList) return;
    if (role_ == Role::kSubject) {
      subjects_.push_back(entity);
    } else if (role_ == Role::kObject && verb_ >= 0) {
      relate_all(verb_subjects_, entity, verb_kind(), verb_, -1);
    } else if (role_ == Role::kPrepositional && animate({entity}) && animate(subjects_) && !animate(last_)) {
      subjects_.push_back(entity);  // "a man in a hat and a woman …"
      role_ = Role::kSubject;
      last_.clear();
    } else if (role_ == Role::kPrepositional && governed_by_verb_ && verb_ >= 0) {
      relate_all(verb_subjects_, entity, verb_kind(), verb_, last_preposition_);
    } else if (role_ == Role::kPrepositional) {
      relate_all(governors_, entity, RelationKind::kPreposition, -1, last_preposition_);
    }
    last_.push_back(entity);
  }

  // After a joint: does a verb of its own follow ("… and a woman is walking")?
  bool starts_clause(std::int32_t) const { return starts_clause_at(at_); }

  bool starts_clause_at(std::size_t at) const {
    if (role_ == Role::kSubject || verb_ < 0) return false;
    const ChunkKind next = at + 1 < chunks_.size() ? chunks_[at + 1].kind : ChunkKind::kStop;
    if (next == ChunkKind::kVerb) return true;
    const bool person = chunks_[at].entity >= 0 && animate({chunks_[at].entity});
    if (!person || animate(last_) || next != ChunkKind::kPreposition) return false;
    return at + 3 < chunks_.size() &&
           chunks_[at + 3].kind == ChunkKind::kVerb;  // "… and a man in a hat sits"
  }

  void pronoun(const Chunk& chunk) {
    if (chunk.past) {  // "group of …": what follows "of" takes the place of the group
      if (at_ + 1 < chunks_.size() && chunks_[at_ + 1].kind == ChunkKind::kPreposition) ++at_;
      return;
    }
    if (preposition_ >= 0) {  // "holding it to his side", "with him": nothing hangs on a pronoun
      if (governed_by_verb_ && verb_ >= 0)
        for (const auto subject : verb_subjects_)
          relate(subject, -1, RelationKind::kPreposition, verb_, preposition_);
      preposition_ = -1;
    } else if (verb_ >= 0 && open_) {
      for (const auto subject : verb_subjects_) relate(subject, -1, verb_kind(), verb_, -1);
      open_ = false;
    } else {
      end_verb();
      subjects_.clear();
      role_ = Role::kNone;
    }
    joined_ = false;
  }

  // Whom a participle behind an entity tells about: "a man in a hat riding" the man, "with a cat sleeping"
  // the cat.
  Entities participle_subjects() const {
    if (role_ == Role::kSubject || role_ == Role::kNone || last_.empty())
      return subjects_.empty() ? last_ : subjects_;
    const bool near = animate(last_) || !animate(subjects_) ||
                      (role_ == Role::kPrepositional && word(last_preposition_) == "with" && animate(last_));
    return near || subjects_.empty() ? last_ : subjects_;
  }

  void verb(const Chunk& chunk) {
    Entities subjects;
    const bool comma_or_joint = joined_ || subordinate_;
    if (relative_) {
      subjects = last_;
    } else if (preposition_ >= 0) {
      subjects = subjects_;  // "for cooking", "by using"
    } else if (comma_or_joint && !verb_subjects_.empty() && role_ != Role::kSubject) {
      subjects = subjects_.empty() ? verb_subjects_ : subjects_;
      if (joined_ && !subordinate_ && chunk.finite == last_finite_) subjects = verb_subjects_;
    } else if (chunk.finite || comma_or_joint) {
      subjects = subjects_;
    } else {
      subjects = participle_subjects();
    }
    end_verb();
    verb_subjects_ = std::move(subjects);
    verb_ = static_cast<std::int32_t>(chunk.token);
    copula_ = chunk.copula;
    has_ = chunk.has;
    passive_ = chunk.past;
    last_finite_ = chunk.finite;
    open_ = !chunk.passive;
    preposition_ = -1;
    joined_ = subordinate_ = relative_ = false;
    if (role_ == Role::kNone && copula_ && at_ > 0 && chunks_[at_ - 1].kind == ChunkKind::kThere) {
      end_verb();  // there is X: X is a subject, and nothing is said of it yet
    } else if (!copula_ && !has_ && !state(chunk.token)) {
      caption_.actions.push_back(chunk.token);
    }
    role_ = verb_ >= 0 ? Role::kNone : role_;
  }

  bool state(std::uint32_t token) const {
    const std::string_view stem = caption_.words[token].readings.verb_stem;
    return std::find(kStates.begin(), kStates.end(), stem) != kStates.end();
  }

  void adjective(const Chunk& chunk) {
    const Entities& said_of = verb_ >= 0 && (copula_ || open_)        ? verb_subjects_
                              : verb_ >= 0 && role_ != Role::kSubject ? last_
                              : role_ == Role::kNone                  ? Entities{}
                                                                      : last_;
    if (preposition_ < 0)
      for (const auto entity : said_of) caption_.attributes.push_back({entity, chunk.token});
    if (verb_ >= 0 && copula_) ++verb_relations_;
    joined_ = false;
  }

  void preposition(const Chunk& chunk) {
    const std::string_view text = word(static_cast<std::int32_t>(chunk.token));
    preposition_ = static_cast<std::int32_t>(chunk.token);
    const bool object = role_ == Role::kObject, behind = role_ == Role::kPrepositional;
    governed_by_verb_ = verb_ >= 0 && (role_ == Role::kNone || (object && text != "of" && text != "with") ||
                                       (behind && text == "with" && animate(verb_subjects_)));
    governors_ = governed_by_verb_ ? verb_subjects_ : last_;
    joined_ = false;
  }

  ParsedCaption& caption_;
  const std::vector<Chunk>& chunks_;
  std::size_t at_ = 0;
  Entities subjects_, verb_subjects_;                           // of the clause, of the verb in hand
  Entities last_;                                               // the entities that stand last, with role_
  Entities governors_;                                          // what the preposition in hand hangs on
  std::vector<std::pair<std::int32_t, std::int32_t>> fronted_;  // "In the park a man …"
  Role role_ = Role::kNone;
  std::int32_t verb_ = -1, preposition_ = -1, last_preposition_ = -1;
  int verb_relations_ = 0;
  bool open_ = false;  // the verb may still take an object
  bool copula_ = false, has_ = false, passive_ = false, governed_by_verb_ = false, last_finite_ = false;
  bool joined_ = false, subordinate_ = false, relative_ = false;
};

}  // namespace

void CaptionParser::parse(std::string_view caption_utf8, ParsedCaption& out) const {
  tokenize_caption(caption_utf8, out.lower, out.tokens);
  tagger_.tag(out.tokens, out.words);
  out.entities.clear();
  out.attributes.clear();
  out.relations.clear();
  out.actions.clear();
  thread_local std::vector<Chunk> chunks;
  make_chunks(out, chunks);
  RelationReader(out, chunks).run();
}

std::int64_t complexity(const ParsedCaption& caption, bool count_intransitive) {
  thread_local std::vector<std::int64_t> degree;
  degree.assign(caption.entities.size(), 0);
  for (const Attribute& attribute : caption.attributes) ++degree[static_cast<std::size_t>(attribute.entity)];
  for (const Relation& relation : caption.relations) {
    if (relation.kind == RelationKind::kIntransitive && !count_intransitive) continue;
    if (relation.subject >= 0) ++degree[static_cast<std::size_t>(relation.subject)];
    if (relation.object >= 0) ++degree[static_cast<std::size_t>(relation.object)];
  }
  const auto most = std::max_element(degree.begin(), degree.end());
  return most == degree.end() ? 0 : *most;
}

std::string ParsedCaption::text() const {
  const auto name = [&](std::int32_t entity) {
    return entity < 0 ? std::string("-")
                      : std::string(words[entities[static_cast<std::size_t>(entity)].head].token.word);
  };
  const auto token = [&](std::int32_t at) {
    return at < 0 ? std::string() : " " + std::string(words[static_cast<std::size_t>(at)].token.word);
  };
  std::string out;
  for (std::size_t i = 0; i < entities.size(); ++i) out += name(static_cast<std::int32_t>(i)) + "\n";
  for (const Attribute& a : attributes)
    out += name(a.entity) + ":" + token(static_cast<std::int32_t>(a.token)) + "\n";
  for (const Relation& r : relations) {
    const char* const fixed = r.kind == RelationKind::kIs && r.verb < 0    ? " is"
                              : r.kind == RelationKind::kHas && r.verb < 0 ? " has"
                                                                           : "";
    out += name(r.subject) + fixed + token(r.verb) + token(r.preposition) + " " + name(r.object) + "\n";
  }
  return out;
}

}  // namespace trireme::worker::text
