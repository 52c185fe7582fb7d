// SQLite's own file layer with the fault points that lie inside it (RELIABILITY 7.1): "ledger.write",
// "ledger.sync" (action error: an I/O error; enospc: disk full), "ledger.wal_written_before_sync".
// Without armed faults it passes every call on.
#pragma once

namespace trireme::coordinator::ledger {

// Registers the layer once and returns its name for sqlite3_open_v2.
const char* watched_files();

}  // namespace trireme::coordinator::ledger
