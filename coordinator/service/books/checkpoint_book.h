// The training checkpoints that the ledger names: sealed when a gang has written one, taken up when a job
// begins, verified before a gang resumes from one, retired when enough newer ones are there. Only what this
// ledger has written is ever removed. State thread; files are read, written and removed on the helper thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/telemetry/metrics.h"
#include "coordinator/checkpoints/survey.h"
#include "coordinator/ledger/ledger.h"
#include "coordinator/service/background.h"
#include "coordinator/service/decision.h"
#include "coordinator/service/event_queue.h"

namespace trireme::coordinator::service {

class CheckpointBook {
 public:
  struct World {
    ledger::Ledger* ledger = nullptr;
    Background* aside = nullptr;
    EventQueue* events = nullptr;
    telemetry::Metrics* metrics = nullptr;
    const Clock* clock = nullptr;
    io::Path run_folder;
  };
  explicit CheckpointBook(World world);

  // ---- When a job begins ----
  checkpoints::KnownCheckpoints known() const;
  // Helper thread. What lies in the output; removes what may go. Throws kDamaged (refuse_unknown) for
  // checkpoints of another ledger and, unless the ledger knows this output, for results that it did not make.
  static checkpoints::Survey look_into(const io::Path& output, const checkpoints::KnownCheckpoints& known,
                                       bool output_known);
  void take_up(const checkpoints::Survey& survey, Decision& decision);
  // Whether a row names something below it.
  bool knows_of(const io::Path& output) const;

  // ---- While a gang trains ----
  using Sealed = std::function<void(const ledger::CheckpointRow*, Decision&)>;
  // Reads it again, renames it into place and commits it; `then` within the decision that commits. A failure
  // is counted and logged, and `then` gets nullptr. `keep_last`: how many older ones stay.
  void seal(checkpoints::SealOrder order, std::int64_t keep_last, Sealed then);
  bool sealing() const { return sealing_ > 0; }
  // What kept the last one from being committed, once none could be for so long; null while there is hope.
  const Error* hopeless(double fail_after_seconds) const;

  // ---- Before a gang starts ----
  struct Start {
    std::string resume_from;  // "": from the beginning
    std::int64_t step = 0;
    std::string fault;  // why it must not start
    ErrorKind kind = ErrorKind::kDamaged;
  };
  // The newest checkpoint of this task that is whole, or the one that `launch --resume-from` named.
  void find_start(const jobs::Task& task, const std::string& spec,
                  std::function<void(const Start&, Decision&)> then);
  // Checkpoints of other settings in this folder: kept and told of, or retired.
  void settle_others(const jobs::Task& task, bool keep, Decision& decision);

  void back_up();  // the ledger; when the last backup is not too recent for what it costs

  std::int64_t highest_step() const { return highest_step_; }  // of the running job
  std::int64_t resume_step() const { return resume_step_; }    // where the stage that trains would go on
  void forget_steps() {
    highest_step_ = resume_step_ = 0;
    failing_since_.reset();
  }

 private:
  void put(const ledger::CheckpointRow& row, const std::string& event, Decision& decision);
  void retire(const std::vector<ledger::CheckpointRow>& rows, Decision& decision);
  void sealed(const ledger::CheckpointRow& row, std::int64_t keep_last, Decision& decision);
  void started(const jobs::Task& task, const Start& start,
               const std::vector<ledger::CheckpointRow>& looked_at, Decision& decision);
  const ledger::CheckpointRow* chosen_for(const jobs::Task& task) const;

  World world_;
  std::vector<ledger::CheckpointRow> rows_;
  std::int64_t highest_step_ = 0, resume_step_ = 0;
  int sealing_ = 0;
  // Since one was committed: when the first could not be, and why the last.
  std::optional<SteadyTime> failing_since_;
  std::optional<Error> failure_;
  bool backing_up_ = false;
  SteadyTime next_backup_{};
};

}  // namespace trireme::coordinator::service
