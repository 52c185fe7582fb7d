// The head of objective "classification".
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "jobs/specification/json/fields.h"

namespace trireme::jobs {

enum class HeadStart { kRandom, kPrompts, kProbe };
constexpr std::array<std::string_view, 3> names_of(HeadStart) {
  return {"random", "prompts", "probe"};
}

// objective "classification": a linear head on the image tower (METHODS 3.5).
struct ClassificationSpec {
  HeadStart head = HeadStart::kRandom;
  std::string probe;       // "stage:<name>" of an evaluate stage, task linear_probe
  bool embedding = false;  // the head reads the unit embedding; false: the tower's output
  bool multi_label = false;
  double mixup = 0;
  std::int64_t head_steps = 0;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field(
        "head", head,
        {.help = "the head at the start: random (normal, deviation 0.01, no bias), or the class vectors of "
                 "the zero-shot prompts times the model's scale, which needs embedding, or what a linear "
                 "probe learnt"});
    v.field("probe", probe,
            {.help = "the probe that the head starts as: stage:<evaluate stage of task linear_probe>, of the "
                     "weights that this model starts from, on what the head reads",
             .quiet = true,
             .unread = unless(head == HeadStart::kProbe, "only a head that starts as a probe has one")});
    v.field("embedding", embedding,
            {.help = "the head reads the unit embedding of the shared space instead of the tower's output"});
    v.field("multi_label", multi_label,
            {.help = "a sigmoid per class instead of one softmax; labels are lists in the .json member "
                     "\"labels\""});
    v.field("mixup", mixup,
            {.help = "alpha of the Beta that mixes each row with its mirror in the slot; 0: off",
             .least = 0,
             .most = 10});
    v.field("head_steps", head_steps,
            {.help = "the head alone learns so many steps, then all (ALIGN's two phases)",
             .least = 0,
             .most = 1e9});
  }
};

}  // namespace trireme::jobs
