#include "coordinator/cli/client/display.h"

#include <algorithm>

#include "common/base/log.h"
#include "coordinator/cli/client/format.h"

namespace trireme::coordinator::cli {
namespace {

constexpr int kBarWidth = 24;

std::string padded(std::string text, std::size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

// Cut at `width` characters, never inside one.
std::string cut(const std::string& text, int width) {
  int seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80 && ++seen > width) return text.substr(0, i);
  return text;
}

const TrainingView* training_of(const JobView& job, const StageView& stage) {
  return job.training && job.training->stage == stage.name && job.training->steps > 0 ? &*job.training
                                                                                      : nullptr;
}

std::string training_text(const TrainingView& training) {
  return "step " + count_text(training.step) + "/" + count_text(training.steps) + "  epoch " +
         std::to_string(training.epoch) + "  loss " + number_text(training.loss, 4) + "  " +
         number_text(training.samples_per_second, training.samples_per_second < 100 ? 1 : 0) + " samples/s";
}

double share_of(const JobView& job, const StageView& stage) {
  if (stage.state == "done") return 1;
  if (const auto* training = training_of(job, stage))
    return static_cast<double>(training->step) / static_cast<double>(training->steps);
  return stage.tasks_known > 0
             ? static_cast<double>(stage.tasks_done) / static_cast<double>(stage.tasks_known)
             : 0;
}

std::string tasks_text(const StageView& stage) {
  std::string text = count_text(stage.tasks_done) + "/" + count_text(stage.tasks_known) +
                     (stage.tasks_final ? "" : "+") + " tasks";
  if (stage.tasks_reused > 0) text += ", " + count_text(stage.tasks_reused) + " reused";
  const auto kept = stage.counts.find("kept"), in = stage.counts.find("in");
  if (kept != stage.counts.end() && in != stage.counts.end())
    text += ", kept " + count_text(kept->second) + " of " + count_text(in->second);
  return text;
}

std::string stage_line(const JobView& job, const StageView& stage, std::size_t name_width) {
  const auto* training = stage.state == "running" ? training_of(job, stage) : nullptr;
  const std::string what = stage.state == "waiting" ? "waiting"
                           : training != nullptr    ? training_text(*training)
                                                    : tasks_text(stage);
  return "  " + padded(printable(stage.name, 40), name_width) + " " + bar(share_of(job, stage), kBarWidth) +
         " " + what;
}

std::string workers_text(const JobView& job) {
  if (job.workers.empty()) return "";
  std::size_t busy = 0, lost = 0, retired = 0;
  for (const auto& worker : job.workers) {
    busy += worker.state == "busy";
    lost += worker.state == "dead" || worker.state == "suspect";
    retired += worker.state == "retired";
  }
  return std::to_string(busy) + " of " + std::to_string(job.workers.size()) + " workers busy" +
         (lost > 0 ? ", " + std::to_string(lost) + " silent" : "") +
         (retired > 0 ? ", " + std::to_string(retired) + " without a device" : "");
}

std::string plain_text(const JobView& job, const StageView& stage) {
  const auto* training = training_of(job, stage);
  if (stage.state != "running") return stage.state;
  return training != nullptr ? training_text(*training) : tasks_text(stage);
}

std::string text_of_stage(const JobView& job, const std::string& name) {
  for (const auto& stage : job.stages)
    if (stage.name == name) return plain_text(job, stage);
  return "";
}

}  // namespace

std::vector<std::string> progress_lines(const JobView& job, int width) {
  std::string head = printable(job.name.empty() ? job.id : job.name, 60) + "  " + job.state;
  if (job.attempt > 1) head += "  attempt " + std::to_string(job.attempt);
  if (const std::string workers = workers_text(job); !workers.empty() && !job.terminal())
    head += "  " + workers;
  if (job.eta_seconds && !job.terminal()) head += "  about " + duration_text(*job.eta_seconds) + " left";
  std::vector<std::string> lines{head};
  std::size_t name_width = 8;
  for (const auto& stage : job.stages)
    name_width = std::max(name_width, std::min<std::size_t>(40, stage.name.size()));
  for (const auto& stage : job.stages) lines.push_back(stage_line(job, stage, name_width));
  for (auto& line : lines) line = cut(line, width);
  return lines;
}

std::string plain_line(const JobView& job, const JobView* before) {
  std::string line = (job.name.empty() ? job.id : job.name) + " " + job.state;
  for (const auto& stage : job.stages) {
    if (stage.state == "waiting" || (stage.state == "done" && stage.implicit)) continue;
    const std::string text = plain_text(job, stage);
    const auto was = before == nullptr ? std::string() : text_of_stage(*before, stage.name);
    if (text != was) line += "; " + stage.name + ": " + text;
  }
  if (job.eta_seconds && !job.terminal()) line += "; about " + duration_text(*job.eta_seconds) + " left";
  return printable(line);
}

Display::Display(std::ostream& out, bool is_terminal, const Clock& clock, int width)
    : out_(out), is_terminal_(is_terminal), clock_(clock), width_(width) {}

void Display::erase() {
  for (; drawn_ > 0; --drawn_) out_ << "\x1b[1A\x1b[2K";
}

void Display::draw() {
  if (!preface_.empty()) out_ << cut(printable(preface_), width_) << "\n";
  const auto lines = progress_lines(last_job_, width_);
  for (const auto& line : lines) out_ << line << "\n";
  drawn_ = lines.size() + (preface_.empty() ? 0 : 1);
}

std::string Display::plain(const JobView& job, const JobView* before) const {
  return (preface_.empty() ? "" : printable(preface_) + "; ") + plain_line(job, before);
}

void Display::update(const JobView& job) {
  const SteadyTime now = clock_.now();
  const bool urgent = !any_ || job.state != last_state_;
  const auto pause = is_terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(2000);
  last_job_ = job;
  if (!urgent && now - last_ < pause) return;
  if (is_terminal_) {
    erase();
    draw();
  } else {
    const std::string line = plain(job);  // all of it, which is what is compared
    if (line == last_line_) return;
    out_ << plain(job, printed_ ? &*printed_ : nullptr) << "\n";
    last_line_ = line;
    printed_ = job;
  }
  out_.flush();
  any_ = true;
  last_ = now;
  last_state_ = job.state;
}

void Display::say(const std::string& line) {
  if (is_terminal_) erase();
  out_ << line << "\n";
  if (is_terminal_ && any_) draw();
  out_.flush();
}

void Display::finish() {
  if (!any_) return;
  if (is_terminal_) {
    erase();
    draw();
  } else if (plain(last_job_) != last_line_) {
    out_ << plain(last_job_, printed_ ? &*printed_ : nullptr) << "\n";
  }
  printed_.reset();
  out_.flush();
  drawn_ = 0;
  any_ = false;
}

}  // namespace trireme::coordinator::cli
