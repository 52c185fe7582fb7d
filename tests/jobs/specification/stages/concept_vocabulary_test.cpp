#include "jobs/specification/stages/concept_vocabulary.h"

#include <gtest/gtest.h>

#include "common/base/error.h"
#include "jobs/specification/job_spec.h"

namespace trireme::jobs {
namespace {

std::string file(const std::string& lists) {
  return R"({"format": "trireme-concepts", "version": 1, "vocabularies": )" + lists + "}";
}

std::string refusal(const std::string& text) {
  try {
    concept_vocabularies_from_json(text, "v.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalid);
    return error.what();
  }
  return "";
}

TEST(ConceptVocabulary, WrittenAndReadAgain) {
  ConceptVocabularies made;
  made.teacher = "0123";
  made.lists = {
      {"objects", {{"dog", 12, "02084071-n", "a \"member\" of the genus Canis"}, {"café", 3, "", ""}}},
      {"attributes", {{"red", 2, "00381097-a", "of a color"}, {"two-tone", -1, "", ""}}}};
  const auto text = to_json(made);
  EXPECT_NE(text.find("\n   {\"concept\":\"dog\",\"count\":12"), std::string::npos) << "one concept a line";
  const auto read = concept_vocabularies_from_json(text, "v.json");
  EXPECT_EQ(to_json(read), text);
  EXPECT_EQ(read.teacher, "0123");
  EXPECT_EQ(read.find("objects")->concepts[0].gloss, "a \"member\" of the genus Canis");
  EXPECT_EQ(read.find("nothing"), nullptr);
}

TEST(ConceptVocabulary, AHumanNeedsOnlyNames) {
  const auto read =
      concept_vocabularies_from_json(file(R"({"mine": ["dog", {"concept": "cat"}]})"), "v.json");
  ASSERT_EQ(read.lists.size(), 1U);
  EXPECT_EQ(read.lists[0].size(), 2);
  EXPECT_EQ(read.lists[0].concepts[1].name, "cat");
  EXPECT_EQ(read.lists[0].concepts[1].count, -1);
}

TEST(ConceptVocabulary, RefusedByName) {
  EXPECT_NE(refusal(file(R"({"objects": ["dog"]})")).find("1 concepts, where a classifier needs two"),
            std::string::npos);
  EXPECT_NE(refusal(file(R"({"objects": ["dog", "cat", "dog"]})")).find("\"dog\" stands twice"),
            std::string::npos);
  EXPECT_NE(refusal(file(R"({"objects": ["dog", ""]})")).find("without a name"), std::string::npos);
  EXPECT_NE(refusal(file(R"({"Objects!": ["dog", "cat"]})")).find("no name of a vocabulary"),
            std::string::npos);
  EXPECT_NE(refusal(file("{}")).find("has no vocabularies"), std::string::npos);
  EXPECT_NE(refusal(file(R"({"objects": 3})")).find("is no list"), std::string::npos);
  EXPECT_NE(refusal(R"({"format": "trireme-concepts", "version": 2})").find("version 1"), std::string::npos);
  EXPECT_NE(refusal("{").find("no valid JSON"), std::string::npos);
}

// ---- stages that make and use them ----

const char* const kJob = R"({"name": "c", "spec": {"output": "/out", "data": {"train": "/d", "other": "/o"},
  "models": {"m": {"image": {"image_px": 32, "patch_px": 8}, "text": {}}},
  "stages": [
    {"name": "words", "kind": "concept_vocabulary", "data": ["train"]},
    {"name": "heads", "kind": "train", "needs": ["words"], "data": "train", "model": "m", "concepts": {"heads": [
      {"name": "objects", "from": "captions", "field": "objects", "vocabulary_from": "stage:words"}]}},
    {"name": "labels", "kind": "concepts", "needs": ["heads"], "data": ["train"], "teacher": "stage:heads"},
    {"name": "train", "kind": "train", "needs": ["labels"], "data": "train", "model": "m", "concepts": {"heads": [
      {"name": "objects", "from": "stage:labels", "field": "objects"}]}},
    {"name": "score", "kind": "evaluate", "data": "train", "task": "captions", "captions": "/captions"}]}})";

TEST(ConceptStages, AWholeJobIsValid) {
  const auto read = read_job(kJob);
  for (const auto& fault : read.faults) ADD_FAILURE() << fault.pointer << " " << fault.detail;
  const auto again = read_job(effective_json(read.job));
  EXPECT_TRUE(again.ok());
  EXPECT_EQ(effective_json(again.job), effective_json(read.job));
}

TEST(ConceptStages, FaultsByPointer) {
  struct Case {
    std::string set, pointer, code, part;
  };
  const std::string stages = "/spec/stages/";
  const std::vector<Case> cases = {
      {"spec.stages.train.concepts.heads.0.from=stage:label", stages + "3/concepts/heads/0/from",
       "unknown_name", "concepts stage"},
      {"spec.stages.train.concepts.heads.0.from=somewhere", stages + "3/concepts/heads/0/from", "invalid",
       "is not json, captions"},
      {"spec.stages.train.needs=[]", stages + "3/needs", "invalid", "\"labels\""},
      {"spec.stages.train.concepts.heads.0.vocabulary=[\"a\",\"b\"]",
       stages + "3/concepts/heads/0/vocabulary", "invalid", "of the concepts stage"},
      {"spec.stages.heads.concepts.heads.0.vocabulary_from=", stages + "1/concepts/heads/0/vocabulary",
       "missing", "at least 2"},
      {"spec.stages.heads.concepts.heads.0.field=verbs", stages + "1/concepts/heads/0/field", "invalid",
       "objects and attributes"},
      {"spec.stages.heads.concepts.heads.0.vocabulary_from=stage:word",
       stages + "1/concepts/heads/0/vocabulary_from", "unknown_name", "concept_vocabulary stage"},
      {"spec.stages.labels.data=[\"other\"]", stages + "3/concepts/heads/0/from", "invalid",
       "labels other data"},
      {"spec.stages.labels.teacher=stage:words", stages + "2/teacher", "unknown_name", "train stage"},
      {"spec.stages.labels.vocabulary=stage:nothing", stages + "2/vocabulary", "unknown_name",
       "concept_vocabulary stage"},
      {"spec.stages.labels.templates=[\"a photo\"]", stages + "2/templates/0", "invalid", "{c}"},
      {"spec.stages.labels.top_k=0", stages + "2/top_k", "out_of_range", ""},
      {"spec.stages.heads.concepts.heads=[]", stages + "2/vocabulary", "missing", "no concept heads"},
      {"spec.stages.score.captions=", stages + "4/captions", "missing", ""},
      {"spec.stages.score.captions=stage:caption", stages + "4/captions", "unknown_name", "caption stage"},
      {"spec.stages.score.model=train", stages + "4/model", "invalid", "needs no model"},
      {"spec.stages.score.task=retrieval", stages + "4/model", "missing", ""},
  };
  for (const auto& one : cases) {
    bool found = false;
    std::string all;
    for (const auto& fault : read_job(kJob, {one.set}).faults) {
      all += fault.pointer + " " + fault.code + " " + fault.detail + "\n";
      found = found || (fault.pointer == one.pointer && fault.code == one.code &&
                        (fault.detail + fault.hint).find(one.part) != std::string::npos);
    }
    EXPECT_TRUE(found) << one.set << " gave\n" << all;
  }
}

}  // namespace
}  // namespace trireme::jobs
