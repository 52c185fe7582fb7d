// An option that nothing reads is a fault: over all settings of all kinds, of models and of data sets, in
// every state that is one change away from the defaults.
#include "jobs/specification/checks/check_unread.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "jobs/specification/json/field_writer.h"

namespace trireme::jobs {
namespace {

// Visits the fields, one struct inside another, counts them, and changes the one that is asked for.
class Changer {
 public:
  explicit Changer(std::ptrdiff_t target) : target_(target) {}

  template <class T>
  void field(const char* name, T& value, const FieldRules& rules = {}) {
    const std::string before = at_;
    const char* const outer = unread_;
    at_ += "/" + std::string(name);
    if (rules.unread != nullptr && unread_ == nullptr) {
      unread_ = rules.unread;
      unread_at_ = at_;
    }
    if constexpr (requires { value.visit(*this); }) {
      value.visit(*this);
    } else {
      leaf(value, rules);
    }
    at_ = before;
    unread_ = outer;
  }

  std::ptrdiff_t leaves() const { return next_; }
  bool has_names() const { return has_names_; }
  const std::string& name() const { return name_; }        // of the changed field
  const std::string& pointer() const { return pointer_; }  // where it is refused: it, or what it is part of
  const std::string& reason() const { return reason_; }    // before the change; "" when it is read

 private:
  template <class T>
  void leaf(T& value, const FieldRules& rules) {
    if (next_++ != target_) return;
    name_ = at_;
    pointer_ = unread_ == nullptr ? at_ : unread_at_;
    reason_ = unread_ == nullptr ? "" : unread_;
    has_names_ = !rules.choices.empty();
    if constexpr (NamedEnum<T>) has_names_ = true;
    change(value, rules);
  }
  static void change(bool& value, const FieldRules&) { value = !value; }
  static void change(std::int64_t& value, const FieldRules& rules) {
    value += static_cast<double>(value) + 1 <= rules.most ? 1 : -1;
  }
  static void change(double& value, const FieldRules& rules) {
    value = value + 0.01 <= rules.most ? value + 0.01 : value - 0.01;
  }
  static void change(std::string& value, const FieldRules& rules) {
    const auto at = std::ranges::find(rules.choices, value);
    value = rules.choices.empty()                                        ? value + "x"
            : at == rules.choices.end() || at + 1 == rules.choices.end() ? rules.choices.front()
                                                                         : *(at + 1);
  }
  template <NamedEnum Enum>
  static void change(Enum& value, const FieldRules&) {
    value = static_cast<Enum>((static_cast<std::size_t>(value) + 1) % names_of(value).size());
  }
  template <class T>
  static void change(std::optional<T>& value, const FieldRules& rules) {
    if (value) return value.reset();
    value.emplace();
    if constexpr (!requires { value->visit(std::declval<Changer&>()); }) change(*value, rules);
  }
  template <class T>
  static void change(std::vector<T>& value, const FieldRules&) {
    value.emplace_back();
  }

  std::ptrdiff_t target_, next_ = 0;
  std::string at_, name_, pointer_, reason_, unread_at_;
  const char* unread_ = nullptr;
  bool has_names_ = false;
};

template <class T>
Changer changed(T& value, std::ptrdiff_t target) {
  Changer changer(target);
  value.visit(changer);
  return changer;
}

std::vector<SpecFault> faults_of(const ModelSpec& model) {
  std::vector<SpecFault> faults;
  check_unread(model, "", faults);
  return faults;
}
std::vector<SpecFault> faults_of(const DataSpec& data) {
  std::vector<SpecFault> faults;
  check_unread(data, "", faults);
  return faults;
}
template <class Settings>
std::vector<SpecFault> faults_of(const Settings& settings) {
  std::vector<SpecFault> faults;
  check_unread(StageSettings(settings), "", faults);
  return faults;
}

// Whether the field takes more than one other value.
template <class T>
bool changed_again(T value, std::ptrdiff_t target) {
  return changed(value, target).has_names();
}

template <class T>
std::string text_of(const T& value) {
  return dump_json(FieldWriter::json_of(value));
}

// Sets the field `second` in the state `value`: refused if and only if nothing reads it there.
template <class T>
void set_field(const std::string& kind, T value, std::ptrdiff_t second, std::set<std::string>& read,
               std::set<std::string>& unread) {
  T before = value;
  const Changer change = changed(value, second);
  (change.reason().empty() ? read : unread).insert(change.name());
  if (change.reason().empty() || text_of(value) == text_of(before)) return;
  const auto faults = faults_of(value);
  const auto fault = std::ranges::find(faults, change.pointer(), &SpecFault::pointer);
  if (fault == faults.end()) {
    ADD_FAILURE() << kind << change.name() << " is set, read by nothing, and accepted: " << text_of(value);
    return;
  }
  EXPECT_EQ(fault->code, "unread");
  EXPECT_NE(fault->detail.find(change.reason()), std::string::npos) << fault->detail;
}

// What a stage of another kind says in its own tasks of this one; refused in a job.
const std::set<std::string> kOfOtherStages = {"embed/tower_output"};

// Every field in every state that is one change away from one of `starts`, which are without faults. Names of
// the fields that some state leaves unread.
template <class T>
std::set<std::string> judge(const std::string& kind, const std::vector<T>& starts) {
  std::set<std::string> unread, read;
  for (const T& start : starts) {
    EXPECT_TRUE(faults_of(start).empty()) << kind << ": a default is never refused";
    T counted = start;
    const std::ptrdiff_t leaves = changed(counted, -1).leaves();
    for (std::ptrdiff_t first = -1; first < leaves; ++first) {
      T state = start;
      std::set<std::string> seen;  // a field with names takes each of them in turn
      while (seen.size() < 16 && (changed(state, first), seen.insert(text_of(state)).second)) {
        for (std::ptrdiff_t second = 0; second < leaves; ++second)
          if (second != first) set_field(kind, state, second, read, unread);
        if (!changed_again(start, first)) break;
      }
    }
  }
  for (const auto& name : unread)
    EXPECT_TRUE(read.contains(name) || kOfOtherStages.contains(kind + name))
        << kind << name << " is read in no state";
  return unread;
}

template <class Settings>
std::vector<Settings> starts_of() {
  std::vector<Settings> starts(1);
  if constexpr (std::is_same_v<Settings, ConceptsSettings>)
    starts.push_back({.teacher = "stage:t", .vocabulary = "stage:v"});
  return starts;
}

template <std::size_t... I>
std::size_t judge_stages(std::index_sequence<I...>) {
  return (judge(std::variant_alternative_t<I, StageSettings>::kKind,
                starts_of<std::variant_alternative_t<I, StageSettings>>())
              .size() +
          ...);
}

TEST(Unread, EverySettingOfEveryKindIsReadOrRefused) {
  EXPECT_GE(judge_stages(std::make_index_sequence<std::variant_size_v<StageSettings>>()), 40U);
}

TEST(Unread, EveryFieldOfModelsAndDataSets) {
  ModelSpec efficientnet;
  efficientnet.image.kind = ImageTowerKind::kEfficientNetB0;
  efficientnet.text.kind = TextTowerKind::kBert;
  efficientnet.text.tokenizer.kind = TokenizerKind::kWordPiece;
  ModelSpec captioner;
  captioner.text.kind = TextTowerKind::kDecoder;
  captioner.text.tokenizer.kind = TokenizerKind::kClipBpe;
  ModelSpec clip = captioner;
  clip.text.kind = TextTowerKind::kTransformer;
  const auto found = judge<ModelSpec>("model", {ModelSpec{}, efficientnet, captioner, clip});
  for (const char* name : {"/image/patch_px", "/image/batch_norm/epsilon", "/text/tokenizer/buckets",
                           "/text/pooling", "/logit_scale_init"})
    EXPECT_TRUE(found.contains(name)) << name;
  DataSpec data;
  data.sources.resize(1);
  data.sources[0].image_column = "picture";
  EXPECT_TRUE(faults_of(data).empty());
  data.sources[0].path = "/data/00000.tar";
  EXPECT_EQ(faults_of(data).at(0).pointer, "/sources/0/image_column");
}

constexpr const char* kJob = R"({"name": "j", "spec": {"output": "/o", "data": {"a": "/a", "b": "/b"},
  "models": {"m": {"image": {"kind": "vit", "weights": "/w", "frozen": true}, "text": {"kind": "transformer", "tokenizer": {"kind": "hashed_words"}}}},
  "stages": [{"name": "e", "kind": "embed", "data": ["a"], "model": "m"},
    {"name": "t", "kind": "train", "needs": ["e"], "data": "a", "model": "m"},
    {"name": "v", "kind": "evaluate", "needs": ["t"], "data": "b", "model": "t", "task": "retrieval"}]}})";

std::string told(const std::vector<std::string>& changes) {
  std::string text;
  for (const auto& fault : read_job(kJob, changes).faults)
    text += fault.pointer + " " + fault.code + ": " + fault.detail + "\n";
  return text;
}

TEST(Unread, AJobIsRefusedWithPointerAndReason) {
  EXPECT_EQ(told({}), "");
  const std::string templates = told({R"(spec.stages.v.templates=["a {c}."])"});
  EXPECT_NE(templates.find("/spec/stages/2/templates unread: nothing reads it: only zero_shot"),
            std::string::npos)
      << templates;
  EXPECT_NE(
      told({"spec.stages.v.task=zero_shot", "spec.stages.v.recall_k=[3]"}).find("/spec/stages/2/recall_k"),
      std::string::npos);
  EXPECT_EQ(told({"spec.stages.v.task=zero_shot", "spec.stages.v.recall_k=[1,5,10]"}), "")
      << "the default is no wish";
  EXPECT_NE(told({"spec.models.m.image.padding=same"}).find("/spec/models/m/image/padding"),
            std::string::npos);
  EXPECT_EQ(told({"spec.models.m.image.crop_rounding=down"}), "");
  EXPECT_NE(told({"spec.models.m.image.crop_rounding=down", "spec.models.m.image.resize_mode=longest"})
                .find("/spec/models/m/image/crop_rounding"),
            std::string::npos);
  EXPECT_NE(told({"spec.stages.t.optimizer.one_cycle.rise=0.3"}).find("/spec/stages/1/optimizer/one_cycle"),
            std::string::npos);
}

TEST(Unread, StoredFeaturesTakeThePlaceOfPictures) {
  EXPECT_NE(told({"spec.stages.t.augment.flip=true"}).find("/spec/stages/1/augment"), std::string::npos);
  EXPECT_EQ(told({"spec.stages.t.feature_dropout=0.1", "spec.stages.t.standardize_features=false"}), "");
  const std::string without = "spec.stages.t.needs=[]";
  EXPECT_EQ(told({without, "spec.stages.t.augment.flip=true"}), "");
  EXPECT_NE(told({without, "spec.stages.t.feature_dropout=0.1"}).find("/spec/stages/1/feature_dropout"),
            std::string::npos);
  EXPECT_NE(
      told({without, "spec.stages.t.standardize_features=false"}).find("/spec/stages/1/standardize_features"),
      std::string::npos);
}

TEST(Unread, LayerAdaptationIsLambs) {
  const std::string group = R"(spec.stages.t.optimizer.groups=[{"names": "*", "layer_adaptation": false}])";
  EXPECT_NE(told({group}).find("/spec/stages/1/optimizer/groups/0/layer_adaptation"), std::string::npos);
  EXPECT_EQ(told({group, "spec.stages.t.optimizer.kind=lamb"}), "");
}

}  // namespace
}  // namespace trireme::jobs
