// Captions of pictures, written by a captioner (METHODS 6): what a caption stage decodes with.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "jobs/specification/json/fields.h"
#include "jobs/specification/stages/precision.h"

namespace trireme::jobs {

// map. One caption per sample as a JSON line of a sidecar. Lengths count tokens, with the start mark and the
// prompt, as BLIP's generate does; it has min_length 10 and, sampling, repetition_penalty 1.1.
struct CaptionSettings {
  static constexpr const char* kKind = "caption";
  std::vector<std::string> data;
  std::string model;  // a name in spec.models whose text.kind is "decoder", or "stage:<train stage>"
  std::string method = "beam";
  std::int64_t beams = 3;
  std::int64_t max_length = 30, min_length = 0;
  std::optional<std::string> prompt;  // null: the model's own
  double length_penalty = 1;
  double repetition_penalty = 1;
  std::int64_t no_repeat_ngram = 0;
  double top_p = 0.9, temperature = 1;
  std::int64_t seed = 0;
  Precision precision = Precision::kFloat32;
  std::int64_t batch = 16;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("data", data, {.help = "data sets", .least = 1, .required = true});
    v.field("model", model,
            {.help = "a captioner: a name in spec.models (text.kind decoder), or stage:<name> of a train "
                     "stage whose objective is captioning",
             .required = true});
    v.field("method", method,
            {.help = "most likely token, beam search, or nucleus sampling",
             .choices = {"greedy", "beam", "nucleus"}});
    v.field("beams", beams,
            {.help = "beam: captions kept at each step; 1 is greedy",
             .least = 1,
             .most = 64,
             .unread = unless(method == "beam", "only method beam has beams")});
    v.field("max_length", max_length,
            {.help = "tokens at most, start mark and prompt included", .least = 2, .most = 4096});
    v.field(
        "min_length", min_length,
        {.help = "no end before so many tokens, start mark and prompt included", .least = 0, .most = 4096});
    v.field("prompt", prompt, {.help = "first words of every caption, left out of it; null: the model's"});
    v.field("length_penalty", length_penalty,
            {.help = "beam: a caption scores its log-probability / length^this",
             .least = -10,
             .most = 10,
             .unread = unless(method == "beam" && beams > 1,
                              "only method beam with beams over 1 compares captions of different lengths")});
    v.field("repetition_penalty", repetition_penalty,
            {.help = "tokens that stand there already: logits over 0 divided, others times this; 1: off",
             .least = 0.1,
             .most = 10});
    v.field("no_repeat_ngram", no_repeat_ngram,
            {.help = "no n-gram of so many tokens occurs twice; 0: off", .least = 0, .most = 64});
    v.field("top_p", top_p,
            {.help = "nucleus: the likeliest tokens that together have this probability",
             .least = 1e-6,
             .most = 1,
             .unread = unless(method == "nucleus", "only method nucleus draws")});
    v.field("temperature", temperature,
            {.help = "nucleus: logits are divided by it",
             .least = 1e-3,
             .most = 100,
             .unread = unless(method == "nucleus", "only method nucleus draws")});
    v.field("seed", seed,
            {.help = "nucleus: the draws",
             .least = 0,
             .most = 9007199254740992.0,
             .unread = unless(method == "nucleus", "only method nucleus draws")});
    v.field("precision", precision, {.help = "arithmetic"});
    v.field("batch", batch, {.help = "images at once", .least = 1, .most = 4096});
  }
};

}  // namespace trireme::jobs
