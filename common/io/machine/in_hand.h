// What a process works on, in a small file that outlives it: the task, per thread the sample, and, once it
// crashes by itself (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT), the signal and the thread. What was killed
// from outside leaves no crash. Noting a sample costs a copy of two names; nothing outside of a scope.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/io/file_system.h"

namespace trireme::io {

class InHand {
 public:
  // At most one in a process at a time. Makes the file and catches the signals, which end the process as ever
  // afterwards.
  InHand(const Path& file, std::uint64_t incarnation);
  ~InHand();  // removes the file
  InHand(const InHand&) = delete;
  InHand& operator=(const InHand&) = delete;

  // The task from here on; `shard`: of a task over one, else "".
  void begin(std::string_view job, std::string_view stage, std::string_view shard);
  void end();

  // Of a rank that a supervisor has started ($TRIREME_LOG_DIR lies in the run folder); null without one,
  // and, with a warning, where the file cannot be made.
  static std::unique_ptr<InHand> of_rank(int rank, std::uint64_t incarnation);

 private:
  Path file_;
  std::size_t size_;
};

// This thread works on single samples while it lives. Scopes may lie within one another.
class SampleScope {
 public:
  SampleScope();
  ~SampleScope();
  SampleScope(const SampleScope&) = delete;
  SampleScope& operator=(const SampleScope&) = delete;
};
// Within a scope: this one now. A fault point is named after it: "sample/<key>".
void take_in_hand(std::string_view shard, std::string_view key);
// Within a scope: these go through a model at once from here on, and where they are several none of them is
// in hand. A fault point is named after each: "model/<key>".
void take_together(const std::vector<std::string>& keys);
// Whether the shard of the task in hand is one of name_suspects(): then what is done to a batch is tried with
// each of its samples alone first, which has it in hand, so that the next crash has a name.
bool one_by_one();
// Shards that were in hand at a crash when no sample was. Forgotten by forget_crashes().
void name_suspects(const Path& run_folder, const std::vector<std::string>& shards);

struct Crash {
  std::uint64_t incarnation = 0;
  int rank = 0, signal = 0;
  std::string job, stage, shard;     // of the task in hand; "": none
  std::string sample_shard, sample;  // that the thread which crashed had in hand; "": none
};
// The kernel has killed that rank for memory: what it had in hand counts as a crash by signal 9, each sample.
void note_out_of_memory(const Path& run_folder, int rank, std::uint64_t incarnation);
// What the ranks of incarnations before this one have left in <run folder>/in-hand/rank-<r>-<incarnation>;
// and the end of all of their files.
std::vector<Crash> crashes_before(const Path& run_folder, std::uint64_t incarnation);
void forget_crashes(const Path& run_folder, std::uint64_t incarnation);

}  // namespace trireme::io
