// A ledger whose main file or log holds any bytes from some place on: it is refused by name, or opens with
// what it held. The first four bytes say where and in which file.
#include <cstdlib>
#include <cstring>

#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "coordinator/ledger/ledger.h"

namespace {

using namespace trireme;
const RealClock kClock;

io::Path folder() {
  return io::temporary_folder() / ("trireme-ledger-fuzz-" + std::to_string(::getpid()));
}

coordinator::ledger::LedgerOptions options(std::uint64_t incarnation) {
  coordinator::ledger::LedgerOptions made;
  made.folder = folder() / "ledger";
  made.incarnation = Incarnation{incarnation};
  made.reserve_bytes = 4096;
  return made;
}

// state.db and its log as a crash leaves them.
std::pair<std::string, std::string> whole() {
  io::remove_tree(folder());
  std::atexit([] { io::remove_tree(folder()); });
  static auto* const ledger =
      new coordinator::ledger::Ledger(options(1), kClock);  // never closed: the log stays
  for (int i = 0; i < 20; ++i)
    ledger->commit({coordinator::ledger::Event{"Paused", "job-1", "{\"n\":" + std::to_string(i) + "}"}});
  const io::Path db = folder() / "ledger/state.db";
  std::pair bytes{io::read_file(db), io::read_file(db.string() + "-wal")};
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto before = whole();
  if (size < 5) return 0;
  auto [db, log] = before;
  std::uint32_t place = 0;
  std::memcpy(&place, data, 4);
  std::string& hit = (place & 1U) != 0 ? db : log;
  const std::size_t at = (place >> 1) % hit.size();
  hit.replace(at, std::min(size - 4, hit.size() - at), reinterpret_cast<const char*>(data + 4),
              std::min(size - 4, hit.size() - at));
  static int run = 0;
  const io::Path copy = folder() / ("copy-" + std::to_string(++run));
  io::write_file_atomic(copy / "state.db", db, false, 0600);
  io::write_file_atomic(copy / "state.db-wal", log, false, 0600);
  io::write_file_atomic(copy / "mark", io::read_file(folder() / "ledger/mark"), false, 0600);
  try {
    auto opened = options(2);
    opened.folder = copy;
    coordinator::ledger::Ledger ledger(opened, kClock);
    int held = 0;  // beside each start's own
    for (const auto& row : ledger.events("job-1", 0, 100)) held += row.event.kind == "Paused" ? 1 : 0;
    if (held != 20) std::abort();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInternal) std::abort();
  }
  io::remove_tree(copy);
  return 0;
}
