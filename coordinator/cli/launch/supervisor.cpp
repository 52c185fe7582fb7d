#include "coordinator/cli/launch/supervisor.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "common/io/machine/in_hand.h"
#include "coordinator/cli/launch/process.h"
#include "coordinator/cli/launch/run_files.h"

namespace trireme::coordinator::cli {
namespace {

using namespace std::chrono_literals;
using store::EndState;
using Steady = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kLookAtPulses{80}, kLookAtProcesses{500};
constexpr const char* kMark = "TRIREME_SUPERVISOR_PID";

std::atomic<int> stops{0};
static_assert(std::atomic<int>::is_always_lock_free);
void count_stop(int) {
  ++stops;
}

class Incarnation {
 public:
  Incarnation(const SupervisorOptions& options, std::uint64_t number);
  void watch();             // until mpirun and every local rank are gone
  std::string cause;        // why it ended, as far as we saw
  int exit_code = -1;       // mpirun's, when it ended by itself
  bool stop_asked = false;  // by a signal to us
  // A process was killed where it ran: no host is to blame.
  bool killed_in_place() const { return cause.find("killed by signal") != std::string::npos; }
  const Steady::time_point started = Steady::now();
  std::optional<Steady::duration> started_within;  // to the coordinator's first beat

 private:
  void note_cause(const Ended& end);
  void check_pulse();
  void check_pulses();
  void check_stopped();
  void check_terminal();
  void check_signals();
  void forward_stop();
  void end_since(const std::string& what, std::chrono::milliseconds limit,
                 std::chrono::milliseconds patience);
  void end_everything(std::chrono::milliseconds patience);
  std::vector<pid_t> ours() const { return processes_marked(kMark, std::to_string(::getpid())); }

  const SupervisorOptions& options_;
  std::uint64_t number_;
  pid_t mpirun_ = 0;
  std::uint64_t kills_before_ = 0;
  std::uint64_t log_begin_ = 0;  // where this incarnation's lines begin in mpirun.log
  Steady::time_point pulse_ = Steady::now(), stop_since_{}, looked_ = started, told_{};
  std::chrono::milliseconds leave_limit_{0};
  struct Beat {
    std::string text;
    Steady::time_point at;
  };
  std::map<std::string, Beat> beats_;  // of the ranks' pulses
  std::map<pid_t, Steady::time_point> stopped_;
  Steady::time_point looked_at_processes_ = started;
  std::optional<io::FileStatus> stamp_;
  bool seen_ = false, over_ = false;
};

Incarnation::Incarnation(const SupervisorOptions& options, std::uint64_t number)
    : options_(options), number_(number), stamp_(progress_stamp(options.run_folder)) {
  io::remove_tree(options.run_folder / "pulse");
  Spawn what{options.command, options.environment, store::RunPaths{options.run_folder}.mpirun_log()};
  what.environment["TRIREME_INCARNATION"] = std::to_string(number);
  what.environment[kMark] = std::to_string(::getpid());
  what.environment["TRIREME_LOG_DIR"] = store::RunPaths{options.run_folder}.logs().string();
  log_begin_ = io::exists(what.output) ? io::size_of(what.output) : 0;
  kills_before_ = options.kills_for_memory();
  mpirun_ = spawn(what);
}

void Incarnation::watch() {
  while (!over_) {
    if (const auto end = ended(mpirun_)) {
      exit_code = end->code;
      if (cause.empty()) note_cause(*end);
      mpirun_ = 0;
      end_everything(options_.poll * 3);  // without mpirun the ranks are orphans: nothing of theirs counts
      return;
    }
    check_signals();
    if (!over_) check_terminal();
    if (!over_) check_pulses();
    if (!over_) check_stopped();
    if (!over_ && !beats_.contains("rank-0")) check_pulse();
    if (over_) return;
    options_.on_poll();
    wait_for_end(mpirun_, options_.look);
  }
}

void Incarnation::note_cause(const Ended& end) {
  const auto found = cause_of_end(store::RunPaths{options_.run_folder}.mpirun_log(), log_begin_, end,
                                  options_.kills_for_memory() - kills_before_);
  cause = found.text;
  if (found.out_of_memory) io::note_out_of_memory(options_.run_folder, found.worker, number_);
}

void Incarnation::check_pulse() {
  const auto stamp = progress_stamp(options_.run_folder);
  const auto now = Steady::now();
  if (stamp != stamp_) {
    stamp_ = stamp;
    pulse_ = now;
    if (!seen_) {
      const auto progress = read_progress(options_.run_folder);
      seen_ = progress && (progress->incarnation == number_ || progress->incarnation == 0);
    }
  }
  const auto limit = seen_ ? options_.pulse_limit : options_.start_limit;
  if (now - (seen_ ? pulse_ : started) < limit) return;
  end_since(seen_ ? "the coordinator gave no sign of life for " : "the coordinator did not start within ",
            limit, options_.kill_limit);
}

// The coordinator has said how it ended: mpirun, which may be waiting for a host that does not answer, gets a
// moment to say the same.
void Incarnation::check_terminal() {
  const auto now = Steady::now();
  if (told_ == Steady::time_point{}) {
    const auto terminal = store::read_terminal({options_.run_folder});
    if (!terminal || terminal->incarnation != number_) return;
    told_ = now;
    // One that was lost may be what mpirun waits for.
    leave_limit_ = terminal->state == EndState::kRestart ? options_.leave_limit / 3 : options_.leave_limit;
    return;
  }
  if (now - told_ < leave_limit_) return;
  if (cause.empty()) cause = "mpirun did not end with the coordinator";
  end_everything(std::chrono::milliseconds(0));
}

// A rank that starts, or the coordinator at any time, and has stopped beating is frozen.
void Incarnation::check_pulses() {
  const auto now = Steady::now();
  if (now - looked_ < kLookAtPulses) return;
  const bool was_away = now - looked_ > std::chrono::seconds(2);  // we were: nobody is to blame
  looked_ = now;
  const auto before = std::exchange(beats_, {});
  for (const auto& file : io::list_folder_if_there(options_.run_folder / "pulse")) {
    const std::string rank = file.filename().string();
    io::LineReader lines(file);
    std::string text;
    lines.next(text);
    const auto known = before.find(rank);
    const bool same = known != before.end() && known->second.text == text && !was_away;
    beats_[rank] = {text, same ? known->second.at : now};
    if (rank == "rank-0") {
      pulse_ = now;
      if (!started_within) started_within = now - started;
    }
    if (now - beats_[rank].at < options_.frozen_limit) continue;
    return end_since(
        (rank == "rank-0" ? "the coordinator" : "worker " + rank.substr(5)) + " stands still since ",
        options_.frozen_limit, 0ms);
  }
  const auto coordinator = beats_.find("rank-0");
  const bool joining =
      coordinator != beats_.end() && coordinator->second.text.find("joining") != std::string::npos;
  if (!joining || now - started < options_.start_limit) return;
  end_since("the ranks did not find one another within ", options_.start_limit, options_.kill_limit);
}

// While ranks start, one that has not shown a pulse yet, or what starts them, may be stopped: the kernel
// tells.
void Incarnation::check_stopped() {
  const auto now = Steady::now();
  const auto coordinator = beats_.find("rank-0");
  const bool starting =
      coordinator == beats_.end() || coordinator->second.text.find("joining") != std::string::npos;
  if (!starting || now - looked_at_processes_ < kLookAtProcesses) return;
  const bool was_away = now - looked_at_processes_ > 2s;  // or did not look
  looked_at_processes_ = now;
  const auto before = std::exchange(stopped_, {});
  for (const pid_t process : ours()) {
    if (!is_stopped(process)) continue;
    const auto known = before.find(process);
    stopped_[process] = known == before.end() || was_away ? now : known->second;
    if (now - stopped_[process] < options_.frozen_limit) continue;
    return end_since(
        "process " + std::to_string(process) + " (" + command_name(process) + ") stands still since ",
        options_.frozen_limit, 0ms);
  }
}

void Incarnation::check_signals() {
  const int count = stop_signals();
  if (count == 0 && !options_.finished()) return;
  if (!stop_asked) {
    stop_asked = true;
    stop_since_ = Steady::now();
    if (count > 0) options_.say("stopping: a checkpoint is written first (again to stop at once)");
    forward_stop();
    return;
  }
  const bool late = Steady::now() - stop_since_ > options_.stop_limit;
  if (count < 2 && !late) return;
  cause = late ? "the run did not stop in time" : "stopped at once by a second signal";
  options_.say(cause + "; ending it");
  end_everything(options_.kill_limit);
}

// To the coordinator itself: mpirun would end all ranks at once instead.
void Incarnation::forward_stop() {
  const auto marked = ours();
  const auto progress = read_progress(options_.run_folder);
  pid_t target = 0;
  for (const pid_t process : marked) {
    if (progress && progress->incarnation == number_ && process == progress->pid) target = process;
    if (target == 0 && command_name(process) == "trireme-coordin") target = process;  // comm has 15 letters
  }
  if (target != 0 && ::kill(target, SIGTERM) == 0) return;
  cause = "stopped before the coordinator was up";
  end_everything(options_.kill_limit);
}

void Incarnation::end_since(const std::string& what, std::chrono::milliseconds limit,
                            std::chrono::milliseconds patience) {
  cause = what + std::to_string(limit.count() / 1000) + " s";
  options_.say(cause + "; ending this incarnation");
  end_everything(patience);
}

// SIGTERM to mpirun's group, then SIGKILL to it and to every process that carries our mark.
void Incarnation::end_everything(std::chrono::milliseconds patience) {
  over_ = true;
  auto deadline = Steady::now() + patience;
  if (mpirun_ != 0) ::kill(-mpirun_, SIGTERM);
  for (;;) {
    if (mpirun_ != 0 && ended(mpirun_)) mpirun_ = 0;
    const auto left = ours();
    if (mpirun_ == 0 && left.empty()) return;
    if (Steady::now() >= deadline || stop_signals() >= 2) {
      if (mpirun_ != 0) ::kill(-mpirun_, SIGKILL);
      for (const pid_t process : left) ::kill(process, SIGKILL);
      deadline = Steady::now() + options_.kill_limit;
    }
    std::this_thread::sleep_for(options_.poll);
  }
}

class Supervisor {
 public:
  explicit Supervisor(const SupervisorOptions& options)
      : options_(options),
        lock_(store::RunPaths{options.run_folder}.lock()),
        headway_(read_progress(options.run_folder)) {}
  SupervisorResult run();

 private:
  bool run_once();  // true: the result is final
  bool decide(const std::optional<store::Terminal>& terminal, const Incarnation& incarnation);
  bool stop(int exit_code, EndState state, const std::string& reason);
  bool give_up(const std::string& reason);
  bool wait_before_next();

  SupervisorOptions options_;
  io::FileLock lock_;
  SupervisorResult result_;
  std::uint64_t number_ = 0;
  Headway headway_;
  int failures_ = 0;  // in a row without progress
  bool ask_hosts_ = false;
};

SupervisorResult Supervisor::run() {
  while (!run_once()) {
  }
  return result_;
}

bool Supervisor::run_once() {
  if (ask_hosts_ && options_.next_command) {
    options_.command = options_.next_command();
    if (stop_signals() > 0) return stop(75, EndState::kStopped, "stopped between two starts");
  }
  number_ = store::raise_incarnation({options_.run_folder});
  ++result_.incarnations;
  // The end of an incarnation before, which its log tells, too.
  io::remove_file(store::RunPaths{options_.run_folder}.terminal());
  Incarnation incarnation(options_, number_);
  incarnation.watch();
  io::remove_tree(options_.run_folder / "pulse");  // whoever was killed has left its own
  options_.on_poll();
  ask_hosts_ = !incarnation.killed_in_place();
  // What one start has shown limits the next: mpirun, sent into a cut, would use up all of a long limit.
  if (incarnation.started_within)
    options_.start_limit = std::min(
        options_.start_limit,
        std::chrono::duration_cast<std::chrono::milliseconds>(20s + 3 * *incarnation.started_within));
  auto terminal = store::read_terminal({options_.run_folder});
  if (terminal && terminal->incarnation != 0 && terminal->incarnation != number_) terminal.reset();
  return decide(terminal, incarnation) || wait_before_next();
}

bool Supervisor::decide(const std::optional<store::Terminal>& terminal, const Incarnation& incarnation) {
  if (terminal) {
    if (terminal->state == EndState::kSucceeded) return stop(0, EndState::kSucceeded, terminal->reason);
    if (terminal->state == EndState::kCancelled) return stop(1, EndState::kCancelled, terminal->reason);
    if (terminal->state == EndState::kStopped) return stop(75, EndState::kStopped, terminal->reason);
    if (terminal->state == EndState::kFailed && !terminal->retryable)
      return stop(terminal->exit_code == 0 ? 1 : terminal->exit_code, terminal->state, terminal->reason);
  }
  // Later a rank of the start before, on a host that was cut off, may be what is in the way.
  if (!terminal && result_.incarnations == 1 && hopeless(incarnation.exit_code))
    return stop(incarnation.exit_code, EndState::kFailed, incarnation.cause);
  const std::string cause = terminal && !terminal->reason.empty() ? terminal->reason : incarnation.cause;
  if (incarnation.stop_asked) return stop(75, EndState::kStopped, cause);
  const bool calm = options_.calm && Steady::now() - incarnation.started >= *options_.calm;
  const bool headway = headway_.made(read_progress(options_.run_folder), terminal ? terminal->progress : -1);
  failures_ = headway || calm ? 0 : failures_ + 1;
  if (failures_ >= options_.retry.no_progress_limit)
    return give_up("no progress: " + std::to_string(failures_) +
                   " starts in a row committed nothing new; the last one: " + cause);
  if (!options_.calm && result_.incarnations >= options_.retry.max_attempts)
    return give_up("all " + std::to_string(result_.incarnations) +
                   " attempts are used up; the last one: " + cause);
  options_.say("incarnation " + std::to_string(number_) + " ended: " + cause);
  return false;
}

bool Supervisor::stop(int exit_code, EndState state, const std::string& reason) {
  result_.exit_code = exit_code;
  result_.state = state;
  result_.reason = reason;
  return true;
}

bool Supervisor::give_up(const std::string& reason) {
  store::write_terminal({options_.run_folder}, {.state = EndState::kFailed,
                                                .reason = reason,
                                                .exit_code = 93,
                                                .progress = headway_.best(),
                                                .incarnation = number_});
  return stop(93, EndState::kFailed, reason);
}

bool Supervisor::wait_before_next() {
  const auto pause = backoff(failures_, options_.retry.backoff_seconds, options_.retry.max_backoff_seconds);
  if (pause.count() > 0)
    options_.say("starting again in " + std::to_string(static_cast<int>(std::ceil(pause.count()))) + " s");
  const auto until = Steady::now() + std::chrono::duration_cast<Steady::duration>(pause);
  while (Steady::now() < until && stop_signals() == 0) std::this_thread::sleep_for(options_.poll);
  return stop_signals() > 0 && stop(75, EndState::kStopped, "stopped between two starts");
}

}  // namespace

void catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = count_stop;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup {};
  ::sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) ::sigaction(SIGHUP, &action, nullptr);  // ignored: under nohup
  ::signal(SIGPIPE, SIG_IGN);  // a closed pager ends the display, not the run
}
int stop_signals() {
  return stops;
}
void reset_stop_signals() {
  stops = 0;
}

SupervisorResult supervise(const SupervisorOptions& options) {
  return Supervisor(options).run();
}

std::chrono::duration<double> backoff(int failures, double base_seconds, double most_seconds) {
  if (failures <= 1) return std::chrono::duration<double>(0);
  return std::chrono::duration<double>(
      std::min(most_seconds, base_seconds * std::pow(2.0, std::min(failures - 2, 40))));
}

}  // namespace trireme::coordinator::cli
