#include <algorithm>

#include <ATen/ATen.h>

#include "common/base/error.h"
#include "jobs/layouts/line_list.h"
#include "worker/embedding/texts.h"
#include "worker/evaluation/label_metrics.h"
#include "worker/stages/evaluate/outcome.h"

namespace trireme::worker::stages::evaluate {
namespace {

struct Hypotheses {
  std::vector<double> score;
  std::vector<std::int64_t> label;
};

// A hypothesis per labelled picture.
Hypotheses hypotheses_of(const checkpoint::Features& features, const std::string& data) {
  if (!features.label.defined() || !features.text.defined())
    throw Error(ErrorKind::kInvalid,
                "data set '" + data + "' has no " + (features.text.defined() ? "labels" : "captions") +
                    " for entailment",
                "a sample needs a picture, one caption (the hypothesis) and a label");
  const auto counts = at::bincount(features.text_owner, {}, features.image.size(0));
  if ((counts != 1).any().item<bool>())
    throw Error(ErrorKind::kInvalid,
                std::to_string((counts != 1).sum().item<std::int64_t>()) + " samples of data set '" + data +
                    "' have no caption or several",
                "a sample of entailment has one hypothesis");
  const auto scores = (features.image * features.text).sum(1).to(at::kDouble).contiguous();
  Hypotheses found;
  for (std::int64_t i = 0; i < scores.size(0); ++i) {
    const auto label = features.label[i].item<std::int64_t>();
    if (label < 0) continue;
    found.score.push_back(scores[i].item<double>());
    found.label.push_back(label);
  }
  return found;
}

std::string plain_answer(const std::string& text) {
  std::string plain;
  for (const char c : text) plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const auto first = plain.find_first_not_of(" \t"), last = plain.find_last_not_of(" \t");
  return first == std::string::npos ? "" : plain.substr(first, last - first + 1);
}

std::string or_default(const std::string& given, const char* usual) {
  return given.empty() ? usual : given;
}

}  // namespace

Outcome entailment(const Task& task, const Inputs& inputs) {
  const Hypotheses learnt = hypotheses_of(inputs.train_features, task.settings.train_data);
  const Hypotheses test = hypotheses_of(inputs.features, inputs.data);
  const auto thresholds = evaluation::choose_thresholds(learnt.score, learnt.label);
  Outcome outcome;
  outcome.result.task = "visual_entailment";
  outcome.result.rules = {
      "not the paper's rule, which is not known: two thresholds of the cosine, chosen on "
      "train_data"};
  outcome.result.metrics = {
      {"acc", evaluation::threshold_accuracy(thresholds, test.score, test.label)},
      {"train_acc", evaluation::threshold_accuracy(thresholds, learnt.score, learnt.label)}};
  std::vector<double> sided;
  std::vector<std::int64_t> entailed;
  for (std::size_t i = 0; i < test.score.size(); ++i)
    if (test.label[i] != 1) {
      sided.push_back(test.score[i]);
      entailed.push_back(test.label[i] == 0 ? 1 : 0);
    }
  const auto positive = at::tensor(entailed, at::kLong) == 1;
  if (positive.any().item<bool>() && !positive.all().item<bool>())
    outcome.result.metrics.emplace_back("roc_auc",
                                        evaluation::roc_auc(at::tensor(sided, at::kDouble), positive));
  else
    outcome.count("roc_auc_needs_both", 1);
  outcome.result.chance = {{"acc", 1.0 / 3}, {"roc_auc", 0.5}};
  outcome.summary["thresholds"] = {thresholds.entailment, thresholds.contradiction};
  outcome.count("images", static_cast<std::int64_t>(test.score.size()));
  outcome.count("train_images", static_cast<std::int64_t>(learnt.score.size()));
  outcome.count("without_label",
                inputs.features.image.size(0) - static_cast<std::int64_t>(test.score.size()));
  return outcome;
}

Outcome answers(const Task& task, const Inputs& inputs, const std::string& device,
                const std::function<void()>& poll) {
  const auto& settings = task.settings;
  const auto known = jobs::read_line_list(settings.answers);
  if (known.empty()) throw Error(ErrorKind::kInvalid, settings.answers + " holds no answer");
  const auto questions =
      fields_of(task, inputs.data, inputs.places, or_default(settings.question_field, "question"));
  const auto given =
      lists_of(task, inputs.data, inputs.places, or_default(settings.answers_field, "answers"));
  const auto model = models::DualEncoder::load(inputs.model.path);
  model->to(device);
  double sum = 0;
  std::int64_t tied = 0, unanswerable = 0, truncated = 0;
  for (std::size_t i = 0; i < questions.size(); ++i) {
    poll();
    std::vector<std::string> texts;
    for (const auto& answer : known) texts.push_back("question: " + questions[i] + " answer: " + answer);
    const auto encoded = embedding::encode_texts(*model, device, texts, /*project=*/true);
    truncated += encoded.truncated;
    const auto score = encoded.rows.matmul(inputs.features.image[static_cast<std::int64_t>(i)]);
    if (!at::isfinite(score).all().item<bool>()) continue;  // wrong, and among not_finite
    const auto best = (score == score.max()).to(at::kByte);
    tied += best.sum().item<std::int64_t>() > 1 ? 1 : 0;
    const std::string chosen =
        plain_answer(known[static_cast<std::size_t>(best.argmax().item<std::int64_t>())]);
    std::int64_t people = 0;
    bool there = false;
    for (const auto& answer : given[i]) {
      people += plain_answer(answer) == chosen ? 1 : 0;
      there = there || std::ranges::any_of(
                           known, [&](const auto& one) { return plain_answer(one) == plain_answer(answer); });
    }
    unanswerable += there ? 0 : 1;
    sum += std::min(1.0, static_cast<double>(people) / 3);
  }
  Outcome outcome;
  outcome.result.task = "question_answering";
  outcome.result.rules = {
      "not the paper's rule, which is not known: the nearest of the listed answers in \"question: q "
      "answer: a\"; right as far as min(people who gave it / 3, 1), case and blanks aside",
      "of equal scores the first answer of the list", kNotFinite};
  outcome.result.metrics = {{"acc", sum / static_cast<double>(questions.size())}};
  outcome.count("images", inputs.features.image.size(0));
  outcome.count("listed_answers", static_cast<std::int64_t>(known.size()));
  outcome.count("ties", tied);
  outcome.count("unanswerable", unanswerable);
  outcome.count("truncated", truncated);
  outcome.count("not_finite", not_finite(inputs.features.image));
  return outcome;
}

}  // namespace trireme::worker::stages::evaluate
