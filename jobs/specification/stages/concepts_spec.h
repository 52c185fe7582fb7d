// DiHT's concept distillation (METHODS 2.3): what a train stage's auxiliary heads learn, from concepts with
// probabilities: those that each sample brings along, a teacher's, or those that its captions name.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "jobs/specification/json/fields.h"

namespace trireme::jobs {

// One linear classifier on the image side: weight * mean over samples with targets of -sum_k p_k ln q_k.
struct ConceptHeadSpec {
  std::string name;  // of its parameters: concepts.<name>.weight
  // "json": `field` of the sample's .json, {"dog": 0.7, "snow": 0.3}, or a list of concepts that share alike.
  // "captions": what its captions name, sharing alike; `field` is "objects" or "attributes".
  // "stage:<name>": a concepts stage; `field` is one of its vocabularies, which is then the head's.
  // Concepts beyond the vocabulary are left out and counted; a sample without any is left out of this loss.
  std::string from = "json";
  std::string field;
  std::vector<std::string> vocabulary;
  std::string vocabulary_from;  // instead: "stage:<name>" of a concept_vocabulary stage, or its file
  std::int64_t top_k = 10;      // the most probable ones, renormalised; 0: all
  double weight = 1;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("name", name, {.help = "unique; a-z, 0-9, _ and -", .least = 1, .most = 64, .required = true});
    v.field("from", from,
            {.help = "where its targets come from: json (of the sample), captions (what they name), or "
                     "stage:<concepts stage>",
             .least = 1});
    v.field("field", field,
            {.help = "json: field with {concept: probability} or a list of concepts; else the vocabulary: "
                     "objects or attributes",
             .least = 1,
             .most = 256,
             .required = true});
    v.field("vocabulary", vocabulary,
            {.help = "the concepts, in the order of the head's outputs; at least 2", .most = 1e6});
    v.field("vocabulary_from", vocabulary_from,
            {.help = "instead of a list: stage:<concept_vocabulary stage>, or a file like its artifact"});
    v.field("top_k", top_k,
            {.help = "most probable concepts of a sample, renormalised; 0: all", .least = 0, .most = 1e6});
    v.field("weight", weight, {.help = "of this head's loss in the sum", .least = 0, .most = 1000});
  }
};

// What heads read: the image tower's output, or the unit row after it.
enum class ConceptInput { kTower, kEmbedding };
constexpr std::array<std::string_view, 2> names_of(ConceptInput) {
  return {"tower", "embedding"};
}
enum class ConceptSampling { kUniform, kSquareRoot };
constexpr std::array<std::string_view, 2> names_of(ConceptSampling) {
  return {"uniform", "square_root"};
}

struct ConceptsSpec {
  std::vector<ConceptHeadSpec> heads;  // none: off; DiHT has two, objects and attributes
  ConceptInput on = ConceptInput::kTower;
  // "square_root": concept c is drawn in proportion to sqrt(n_c) and then a sample that has it, so a sample
  // is seen sum over its concepts of n_c^-0.5 times per epoch, scaled to 1 on average.
  ConceptSampling sampling = ConceptSampling::kUniform;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("heads", heads, {.help = "auxiliary classifiers; none: off", .most = 16});
    v.field("on", on,
            {.help = "what the heads read: the image tower's output, or the embedding",
             .unread = unless(!heads.empty(), "there are no heads")});
    v.field("sampling", sampling,
            {.help = "samples alike, or concepts in proportion to the root of their frequency"});
  }
};

}  // namespace trireme::jobs
