// A sign of life of a whole process, in every phase: a thread that writes the next number into a file twice a
// second and does nothing else, so that only a process that stands still (frozen, starved) falls silent.
// Opened and closed at every beat: a network file system shows it then. A beat that cannot be written is no
// fault; on a full disk the same bytes are written over.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/io/file_system.h"

namespace trireme::io {

class Pulse {
 public:
  // The file holds "NUMBER PHASE\n", always of the same length. Makes the folder.
  Pulse(Path file, std::string phase, std::chrono::milliseconds every = std::chrono::milliseconds(500));
  ~Pulse();  // removes the file: this process is heard in another way, or leaves
  Pulse(const Pulse&) = delete;
  Pulse& operator=(const Pulse&) = delete;

  void phase(const char* name) { phase_ = name; }  // a literal

  // Of a rank that a supervisor has started ($TRIREME_LOG_DIR lies in the run folder); null without one.
  static std::unique_ptr<Pulse> of_rank(const std::string& rank, const std::string& phase);

 private:
  void beat();
  Path file_;
  std::string first_;
  std::atomic<const char*> phase_;
  std::chrono::milliseconds every_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  unsigned long long number_ = 0;
  std::thread thread_;
};

}  // namespace trireme::io
