// The folder of a run (jobs/protocol/FORMAT.md): where everything in it lies, and the small files by which
// coordinator, supervisor and command line follow one another. Written aside and renamed; any process reads.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/enum_names.h"
#include "common/io/file_system.h"

namespace trireme::jobs {
struct PipelineSpec;
}

namespace trireme::store {

struct RunPaths {
  io::Path path;

  io::Path lock() const { return path / "LOCK"; }
  io::Path ledger() const { return path / "ledger"; }
  io::Path logs() const { return path / "logs"; }
  io::Path mpirun_log() const { return logs() / "mpirun.log"; }
  io::Path checkpoints() const { return path / "ckpt"; }
  io::Path stages() const { return path / "stages"; }
  io::Path stage(const std::string& name) const { return stages() / name; }
  io::Path model() const { return path / "final"; }
  io::Path index() const { return path / "index"; }
  io::Path export_of(const std::string& stage) const { return path / "export" / stage; }
  io::Path report() const { return path / "report.html"; }
  io::Path terminal() const { return path / "terminal.json"; }
  io::Path progress() const { return path / "progress.json"; }
  io::Path endpoint() const { return path / "endpoint.json"; }
  io::Path incarnation() const { return path / "incarnation"; }
  io::Path token() const { return path / "token"; }
  io::Path backups() const { return path / "backup"; }
  io::Path spec() const { return path / "spec.json"; }
};

// Where a job keeps its artifacts: where it says, else in the folder of its run.
std::string store_of(const jobs::PipelineSpec& spec);

// Adds one to the stored number, durably, and returns the new one; the first is 1. Throws kDamaged when the
// file holds something else.
std::uint64_t raise_incarnation(const RunPaths& run, const io::FileSystem& files = io::disk());

// How an incarnation ended.
enum class EndState { kSucceeded, kFailed, kCancelled, kStopped, kRestart };
constexpr std::array<std::string_view, 5> names_of(EndState) {
  return {"SUCCEEDED", "FAILED", "CANCELLED", "STOPPED", "RESTART"};
}
struct Terminal {
  EndState state = EndState::kFailed;
  std::string reason;
  bool retryable = false;
  int exit_code = 0;
  std::int64_t progress = 0, step = 0;  // progress: read as -1 where it is not told
  std::uint64_t incarnation = 0;
};
void write_terminal(const RunPaths& run, const Terminal& terminal, const io::FileSystem& files = io::disk());
// Nothing when the file is missing or damaged, or says no such state.
std::optional<Terminal> read_terminal(const RunPaths& run);

// How far it is, several times a second. Not durable.
struct Progress {
  std::uint64_t incarnation = 0, sequence = 0;
  std::int64_t pid = 0;
  std::optional<std::int64_t> progress;
  std::string job = "null";  // its document, JSON
};
void write_progress(const RunPaths& run, const Progress& progress, const std::string& time,
                    const io::FileSystem& files = io::disk());
std::optional<Progress> read_progress(const RunPaths& run);

// Where the coordinator's API listens.
struct Endpoint {
  std::string url, run_id;
  std::int64_t pid = 0;
  std::uint64_t incarnation = 0;
};
void write_endpoint(const RunPaths& run, const Endpoint& endpoint);
// Throws kUnavailable when there is none, kDamaged when it is no JSON object.
Endpoint read_endpoint(const RunPaths& run);

}  // namespace trireme::store
