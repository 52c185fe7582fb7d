// What a train stage minimises (METHODS 1 to 3; worker/losses/README.md has the formula of the general
// member): one weighted softmax over the global batch of which the papers' losses are points, or SigLIP's
// sigmoid.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "jobs/specification/json/fields.h"

namespace trireme::jobs {

// DiHT's HN-NCE (METHODS 2.4). alpha 1, beta 0 is InfoNCE.
struct HardNegativesSpec {
  double alpha = 1;
  double beta = 0;
  bool detach_weights = false;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("alpha", alpha,
            {.help = "weight of the positive in the denominator; over 0", .least = 1e-6, .most = 1});
    v.field("beta", beta,
            {.help = "sharpness of the negatives' weights (0.25 on web data, 0.5 on clean)",
             .least = 0,
             .most = 10});
    v.field("detach_weights", detach_weights,
            {.help = "no gradient through the negatives' weights",
             .unread = unless(beta > 0, "beta is 0, so all negatives weigh alike")});
  }
};

// ALIP's gates (METHODS 1.3 to 1.6); all off by default, all on is ALIP. They need texts: both.
struct GatesSpec {
  bool sample = false, text = false, caption = false;
  double gamma_sample = 2, gamma_pair = 2;
  double momentum = 0.99;
  double h_init = 1;
  bool reset_h_on_resume = false;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("sample", sample, {.help = "W^s, by the similarity of text and caption"});
    v.field("text", text, {.help = "W^t, by the similarity of image and text"});
    v.field("caption", caption, {.help = "W^c, by the similarity of image and caption"});
    v.field("gamma_sample", gamma_sample,
            {.help = "exponent of W^s",
             .least = 0,
             .most = 100,
             .unread = unless(sample, "the gate sample is off")});
    v.field("gamma_pair", gamma_pair,
            {.help = "exponent of W^t and W^c",
             .least = 0,
             .most = 100,
             .unread = unless(text || caption, "the gates text and caption are off")});
    v.field("momentum", momentum,
            {.help = "of the running means H",
             .least = 0,
             .most = 1,
             .unread = unless(sample || text || caption, "no gate is on")});
    v.field("h_init", h_init,
            {.help = "H at the start; 1 warms the loss up over some 300 steps",
             .least = -1,
             .most = 1,
             .unread = unless(sample || text || caption, "no gate is on")});
    v.field("reset_h_on_resume", reset_h_on_resume,
            {.help = "start H again when resumed, as ALIP's code does; false: H is in the checkpoint",
             .unread = unless(sample || text || caption, "no gate is on")});
  }
};

// ln(1/tau) (CLIP), or tau itself (ALIGN).
enum class TemperatureParameter { kLogitScale, kSigma };
constexpr std::array<std::string_view, 2> names_of(TemperatureParameter) {
  return {"logit_scale", "sigma"};
}

struct TemperatureSpec {
  TemperatureParameter parameter = TemperatureParameter::kLogitScale;
  bool learnt = true;
  std::optional<double> initial;  // tau; default the model's (sigma: 1)

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("parameter", parameter, {.help = "logit_scale = ln(1/tau), or sigma = tau"});
    v.field("learnt", learnt, {.help = "false: fixed at its initial value"});
    v.field("initial", initial,
            {.help = "tau at the start; default the model's logit_scale_init, for sigma 1",
             .least = 1e-4,
             .most = 100});
  }
};

enum class LossKind { kSoftmax, kSigmoid };
constexpr std::array<std::string_view, 2> names_of(LossKind) {
  return {"softmax", "sigmoid"};
}
enum class LossTexts { kRaw, kCaption, kBoth };
constexpr std::array<std::string_view, 3> names_of(LossTexts) {
  return {"raw", "caption", "both"};
}
// CLIP and ALIP's code; ALIGN; ALIP's paper.
enum class LossReduction { kHalfMean, kSumOfMeans, kSum };
constexpr std::array<std::string_view, 3> names_of(LossReduction) {
  return {"half_mean", "sum_of_means", "sum"};
}
enum class LossPositives { kPair, kLabel };
constexpr std::array<std::string_view, 2> names_of(LossPositives) {
  return {"pair", "label"};
}

struct LossSpec {
  LossKind kind = LossKind::kSoftmax;  // kSigmoid: SigLIP
  LossTexts texts = LossTexts::kRaw;   // kBoth: ALIP, image-text plus image-caption
  LossReduction reduction = LossReduction::kHalfMean;
  LossPositives positives = LossPositives::kPair;  // kLabel: UniCL, all rows of a label
  double label_smoothing = 0;                      // ALIGN: 0.1
  double negative_fraction = 1;                    // ALIGN's arm: share of the negatives that is kept
  double sigmoid_bias_init = -10;
  HardNegativesSpec hard_negatives;
  GatesSpec gates;
  TemperatureSpec temperature;

  template <class Visitor>
  void visit(Visitor& v) {
    v.field("kind", kind, {.help = "softmax, or SigLIP's pairwise sigmoid"});
    v.field("texts", texts, {.help = "which texts an image is paired with"});
    v.field("reduction", reduction, {.help = "over rows and directions"});
    v.field("positives", positives,
            {.help = "pair: the image's own text; label: every text of its class (UniCL)"});
    v.field("label_smoothing", label_smoothing,
            {.help = "softmax only; ALIGN 0.1", .least = 0, .most = 0.99});
    v.field("negative_fraction", negative_fraction,
            {.help = "share of the in-batch negatives that is kept", .least = 1e-6, .most = 1});
    v.field("sigmoid_bias_init", sigmoid_bias_init,
            {.help = "sigmoid: learnt bias at the start",
             .least = -100,
             .most = 100,
             .unread = unless(kind == LossKind::kSigmoid, "only the sigmoid loss has a bias")});
    v.field("hard_negatives", hard_negatives, {.help = "DiHT's HN-NCE"});
    v.field("gates", gates, {.help = "ALIP's gates"});
    v.field("temperature", temperature, {.help = "temperature"});
  }

  bool any_gate() const { return gates.sample || gates.text || gates.caption; }
};

}  // namespace trireme::jobs
