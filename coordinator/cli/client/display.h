// Progress of a job for people: bars redrawn in place on a terminal, plain lines otherwise.
#pragma once

#include <chrono>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "coordinator/cli/client/job_view.h"

namespace trireme::coordinator::cli {

// One line per stage that has begun or is next, the training line, the ETA. Pure; no control characters.
std::vector<std::string> progress_lines(const JobView& job, int width);
// Everything in one line, for logs and pipes; of the stages only those that differ from `before`, if given.
std::string plain_line(const JobView& job, const JobView* before = nullptr);

class Display {
 public:
  Display(std::ostream& out, bool is_terminal, const Clock& clock, int width = 100);
  // Terminal: redraws, at most ten times a second. Otherwise a line when something changed, at most one in 2
  // s; a new state or a final one at once.
  void update(const JobView& job);
  // A line above the job's, or before it in a log: what the job is a part of.
  void preface(const std::string& line) { preface_ = line; }
  // A message that stays.
  void say(const std::string& line);
  // Leaves the last state on the screen.
  void finish();

 private:
  void erase();
  void draw();
  std::string plain(const JobView& job, const JobView* before = nullptr) const;
  std::ostream& out_;
  bool is_terminal_;
  const Clock& clock_;
  int width_;
  std::size_t drawn_ = 0;  // lines on the screen that are redrawn
  bool any_ = false;
  SteadyTime last_{};
  std::string last_line_, last_state_, preface_;
  JobView last_job_;
  std::optional<JobView> printed_;  // what the lines so far have told
};

}  // namespace trireme::coordinator::cli
