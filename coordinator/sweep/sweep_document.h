// The files of a sweep: sweep.json (also what a later `trireme sweep` goes on from), sweep.csv (the table)
// and runs.csv (a line per run).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "coordinator/sweep/sweep_table.h"

namespace trireme::coordinator::sweep {

// Where and with what the results were made.
struct Provenance {
  std::string version, commit;  // of the program that writes
  std::string host, cpu;
  std::int64_t cores = 0, workers = 0;
  std::uint64_t memory_bytes = 0;
  std::vector<std::string> devices;  // of the workers, distinct
  std::string started;               // UTC, of the first session
  std::int64_t sessions = 0;         // times the command was started
  double wall_seconds = 0;           // of all sessions together
};

std::string sweep_json(const Sweep& sweep, const std::vector<RunResult>& results, const Table& table,
                       const Provenance& provenance);
std::string table_csv(const Sweep& sweep, const Table& table);
std::string runs_csv(const Sweep& sweep, const std::vector<RunResult>& results, const Table& table);

// For people: the table in blocks of at most `columns` metrics, failed runs with their reasons, provenance.
// Of metrics that the sweep file does not name, the first two blocks.
std::string table_text(const Sweep& sweep, const std::vector<RunResult>& results, const Table& table,
                       const Provenance& provenance, std::size_t columns = 5);

// What an earlier session left: results by the key of their run. A file that cannot be read is as if absent.
struct Remembered {
  std::map<std::string, RunResult> results;
  std::string started;
  std::int64_t sessions = 0;
  double wall_seconds = 0;
};
Remembered read_remembered(const io::Path& sweep_json_file);

// Runs that ended under other commits than the one that writes: "", or a sentence.
std::string commit_remark(const std::vector<RunResult>& results, const Provenance& provenance);

}  // namespace trireme::coordinator::sweep
