// Settings of the stages that make DiHT's concept labels (METHODS 2.3): the vocabularies, and a teacher's
// probabilities over them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/specification/image_tower_spec.h"
#include "jobs/specification/json/fields.h"
#include "jobs/specification/stages/named_stage.h"
#include "jobs/specification/stages/precision.h"

namespace trireme::jobs {

// tally. Two vocabularies from the captions' scene graphs (worker/text): "objects", the lemmas of nouns that
// head an entity, and "attributes", the adjectives said of one. A sample counts once per concept, whatever
// its captions. The artifact is JSON that people read, edit and pin (FORMAT.md).
struct ConceptVocabularySettings {
  static constexpr const char* kKind = "concept_vocabulary";
  std::vector<std::string> data;
  std::int64_t min_count = 5;         // samples that have the concept
  std::int64_t most_objects = 10000;  // the most frequent ones; ties by the alphabet
  std::int64_t most_attributes = 2000;
  bool known_words = true;  // only what WordNet has
  std::int64_t partitions = 8;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data sets, counted together", .least = 1, .required = true});
    v.field("min_count", min_count,
            {.help = "samples whose captions name the concept", .least = 1, .most = 1e12});
    v.field("most_objects", most_objects,
            {.help = "nouns kept, most frequent first", .least = 2, .most = 1e6});
    v.field("most_attributes", most_attributes,
            {.help = "adjectives kept, most frequent first", .least = 2, .most = 1e6});
    v.field("known_words", known_words, {.help = "only words that WordNet has"});
    v.field("partitions", partitions, {.help = "merge tasks", .least = 1, .most = 4096});
  }
};

// The teacher is a classifier by its own head, not a model of Trireme: a file, or "pretrained:…".
inline bool is_classifier(const std::string& teacher) {
  return teacher.starts_with("pretrained:") || teacher.ends_with(".safetensors");
}

// map. A teacher's k most probable concepts per sample and vocabulary, renormalised (FORMAT.md "Concept
// labels"). Training joins them to its samples: concepts.heads[].from "stage:<name>".
struct ConceptsSettings {
  static constexpr const char* kKind = "concepts";
  std::vector<std::string> data;
  // A classifier's weights, which hold its head (pretrained:efficientnet-lite0 or a file); "stage:<name>" of
  // a train stage, or the folder of a model that Trireme trained.
  std::string teacher = "pretrained:efficientnet-lite0";
  ImageTowerKind tower = ImageTowerKind::kEfficientNetLite0;  // of a classifier
  // "imagenet"; "stage:<name>" of a concept_vocabulary stage, or its file. Of a trained model: empty means
  // its own concept heads, else it classifies by prompts. Of a classifier: empty means imagenet.
  std::string vocabulary;
  std::vector<std::string> templates = {"a photo of a {c}."};
  std::int64_t top_k = 10;
  std::int64_t batch = 32;
  Precision precision = Precision::kFloat32;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data sets", .least = 1, .required = true});
    v.field(
        "teacher", teacher,
        {.help = "pretrained:efficientnet-lite0 or a classifier's weights; stage:<train stage> or a model "
                 "folder",
         .least = 1});
    v.field(
        "tower", tower,
        {.help = "what a classifier's weights are of",
         .choices = {"efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"},
         .unread = unless(is_classifier(teacher), "the teacher is no classifier, and brings its own tower")});
    v.field("vocabulary", vocabulary,
            {.help = "imagenet, stage:<concept_vocabulary stage> or a file like its artifact; empty: the "
                     "teacher's own"});
    v.field("templates", templates,
            {.help = "prompts of a trained model; {c} is the concept",
             .least = 1,
             .most = 256,
             .unread = unless(!is_classifier(teacher) && !vocabulary.empty(),
                              "the teacher has a head of its own and needs no prompts")});
    v.field("top_k", top_k,
            {.help = "most probable concepts kept of a sample, renormalised", .least = 1, .most = 1000});
    v.field("batch", batch, {.help = "images at once", .least = 1, .most = 4096});
    v.field("precision", precision, {.help = "arithmetic"});
  }
};

}  // namespace trireme::jobs
