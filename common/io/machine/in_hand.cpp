#include "common/io/machine/in_hand.h"

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/fault_point.h"
#include "common/base/log.h"
#include "common/io/door.h"
#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::io {
namespace {

constexpr std::uint64_t kMagic = 0x646e6168'6e692e31;  // "1.inhand"
constexpr std::size_t kThreads = 64;
constexpr std::array kSignals{SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

using Name = std::array<char, 1024>;

// Zero-terminated; a name that does not fit is none.
struct Slot {
  Name shard, key;
};
struct Record {
  std::uint64_t magic, incarnation;
  std::int32_t signal, thread;  // 0: did not crash; -1: a thread that works on no sample
  std::array<char, 64> job;
  std::array<char, 256> stage;
  Name shard;
  std::array<Slot, kThreads> threads;
};

template <std::size_t size>
void put(std::array<char, size>& to, std::string_view name) {
  const std::size_t bytes = name.size() < size ? name.size() : 0;
  std::memcpy(to.data(), name.data(), bytes);
  to[bytes] = 0;
}
template <std::size_t size>
std::string text_of(const std::array<char, size>& name) {
  return {name.data(), ::strnlen(name.data(), size)};
}

// Read by a signal's handler: constant at first, lock-free.
std::atomic<Record*>& record() {
  static constinit std::atomic<Record*> instance{nullptr};
  return instance;
}
std::array<struct sigaction, kSignals.size()>& before() {
  static constinit std::array<struct sigaction, kSignals.size()> instance{};
  return instance;
}
std::atomic<std::uint64_t>& taken() {  // a bit per slot
  static constinit std::atomic<std::uint64_t> instance{0};
  return instance;
}

struct Thread {
  int slot = -1, depth = 0;
};
Thread& this_thread() {
  thread_local constinit Thread instance;
  return instance;
}

void on_crash(int signal) {
  Record* const held = record();
  if (held != nullptr && held->signal == 0) {
    held->thread = this_thread().slot;
    held->signal = signal;
  }
  // Open MPI, which had it before, would print a stack, and that takes memory from a heap that may be broken.
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

constexpr const char* kRank = "rank-";

Path place(const Path& run_folder) {
  return run_folder / "in-hand";
}

Path out_of_memory_mark(const Path& run_folder, int rank, std::uint64_t incarnation) {
  return place(run_folder) / ("memory-" + std::to_string(rank) + "-" + std::to_string(incarnation));
}

constexpr const char* kSuspects = "suspects";

std::atomic<bool>& suspected() {
  static constinit std::atomic<bool> instance{false};
  return instance;
}

bool names(const Path& list, std::string_view shard) {
  const Behind nothing(nullptr);
  if (!io::exists(list)) return false;
  LineReader lines(list);
  for (std::string line; lines.next(line);)
    if (line == shard) return true;
  return false;
}

}  // namespace

InHand::InHand(const Path& file, std::uint64_t incarnation) : size_(sizeof(Record)) {
  const Behind nothing(nullptr);
  make_folders(file.parent_path());
  remove_file(file);
  const int descriptor = disk().open(file, O_RDWR | O_CREAT | O_EXCL, 0644);
  if (descriptor < 0) throw system_error("cannot make " + file.string(), errno);
  int cause = disk().reserve(descriptor, size_);  // a page without a block would be a SIGBUS on a full disk
  void* mapped = MAP_FAILED;
  if (cause == 0) mapped = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (cause == 0 && mapped == MAP_FAILED) cause = errno;
  disk().close(descriptor);
  if (cause != 0) {
    remove_file(file);
    throw system_error("cannot map " + file.string(), cause);
  }
  auto* const fresh = static_cast<Record*>(mapped);
  fresh->incarnation = incarnation;
  fresh->magic = kMagic;
  record() = fresh;
  struct sigaction action {};
  action.sa_handler = on_crash;
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &action, &before()[i]);
  file_ = file;
}

InHand::~InHand() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before()[i], nullptr);
  Record* const held = record().exchange(nullptr);
  ::munmap(held, size_);
  const Behind nothing(nullptr);
  remove_file(file_);
}

void InHand::begin(std::string_view job, std::string_view stage, std::string_view shard) {
  Record* const held = record();
  suspected() = !shard.empty() && names(file_.parent_path() / kSuspects, shard);
  put(held->job, job);
  put(held->stage, stage);
  put(held->shard, shard);
}

void InHand::end() {
  begin("", "", "");
}

std::unique_ptr<InHand> InHand::of_rank(int rank, std::uint64_t incarnation) {
  const char* logs = std::getenv("TRIREME_LOG_DIR");
  if (logs == nullptr || *logs == 0 || std::getenv("TRIREME_SUPERVISOR_PID") == nullptr) return nullptr;
  try {
    return std::make_unique<InHand>(
        place(Path(logs).parent_path()) / (kRank + std::to_string(rank) + "-" + std::to_string(incarnation)),
        incarnation);
  } catch (const Error& error) {
    log_warning("in hand", std::string("what kills this worker will not be known: ") + error.what());
    return nullptr;
  }
}

SampleScope::SampleScope() {
  Thread& here = this_thread();
  if (here.depth++ > 0 || record() == nullptr) return;
  std::uint64_t free = ~taken().load();
  while (free != 0) {
    const int slot = __builtin_ctzll(free);
    const std::uint64_t bit = std::uint64_t{1} << slot;
    if ((taken().fetch_or(bit) & bit) == 0) {
      here.slot = slot;
      return;
    }
    free = ~taken().load();
  }
}

SampleScope::~SampleScope() {
  Thread& here = this_thread();
  if (--here.depth > 0 || here.slot < 0) return;
  const int slot = std::exchange(here.slot, -1);
  if (Record* const held = record()) held->threads[static_cast<std::size_t>(slot)].key[0] = 0;
  taken().fetch_and(~(std::uint64_t{1} << slot));
}

void take_in_hand(std::string_view shard, std::string_view key) {
  const int slot = this_thread().slot;
  if (slot < 0) return;
  Slot& mine = record().load()->threads[static_cast<std::size_t>(slot)];
  if (std::string_view(mine.key.data()) == key && std::string_view(mine.shard.data()) == shard) return;
  put(mine.shard, shard);
  put(mine.key, key);
  static const bool armed = std::getenv("TRIREME_FAULT") != nullptr;
  if (armed) fault_point("sample/" + std::string(key));
}

void take_together(const std::vector<std::string>& keys) {
  const int slot = this_thread().slot;
  if (slot < 0) return;
  if (keys.size() > 1) record().load()->threads[static_cast<std::size_t>(slot)].key[0] = 0;
  static const bool armed = std::getenv("TRIREME_FAULT") != nullptr;
  if (armed)
    for (const auto& key : keys) fault_point("model/" + key);
}

bool one_by_one() {
  return suspected();
}

void name_suspects(const Path& run_folder, const std::vector<std::string>& shards) {
  if (shards.empty()) return;
  std::string text;
  for (const auto& shard : shards) text += shard + "\n";
  write_file_atomic(place(run_folder) / kSuspects, text);
}

void note_out_of_memory(const Path& run_folder, int rank, std::uint64_t incarnation) {
  try {
    FileWriter(out_of_memory_mark(run_folder, rank, incarnation)).finish(false);
  } catch (const Error& error) {
    log_warning("in hand", error.what());
  }
}

std::vector<Crash> crashes_before(const Path& run_folder, std::uint64_t incarnation) {
  const Behind nothing(nullptr);
  std::vector<Crash> crashes;
  for (const auto& file : list_folder_if_there(place(run_folder))) {
    const std::string name = file.filename().string(), bytes = read_file(file, 2 * sizeof(Record));
    if (bytes.size() != sizeof(Record) || !name.starts_with(kRank)) continue;
    auto held = std::make_unique<Record>();
    std::memcpy(held.get(), bytes.data(), sizeof(Record));
    if (held->magic != kMagic || held->incarnation >= incarnation) continue;
    Crash crash{held->incarnation,
                std::atoi(name.c_str() + std::strlen(kRank)),
                held->signal,
                text_of(held->job),
                text_of(held->stage),
                text_of(held->shard),
                "",
                ""};
    const bool memory =
        crash.signal == 0 && io::exists(out_of_memory_mark(run_folder, crash.rank, held->incarnation));
    if (memory) crash.signal = SIGKILL;
    if (crash.signal == 0) continue;
    const auto before = crashes.size();
    for (std::size_t i = 0; i < kThreads; ++i) {
      if ((!memory && held->thread != static_cast<int>(i)) || held->threads[i].key[0] == 0) continue;
      crash.sample_shard = text_of(held->threads[i].shard);
      crash.sample = text_of(held->threads[i].key);
      crashes.push_back(crash);
    }
    if (crashes.size() == before && !memory) crashes.push_back(crash);
  }
  return crashes;
}

void forget_crashes(const Path& run_folder, std::uint64_t incarnation) {
  const Behind nothing(nullptr);
  for (const auto& file : list_folder_if_there(place(run_folder))) {
    const std::string name = file.filename().string();
    if (std::strtoull(name.c_str() + name.rfind('-') + 1, nullptr, 10) < incarnation) remove_file(file);
  }
}

}  // namespace trireme::io
