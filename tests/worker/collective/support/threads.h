// Runs a function once per rank of a local gang, each on its own thread; the first error is thrown again.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "worker/collective/local/local_group.h"

namespace trireme::worker::collective {

inline void run_ranks(int size, const std::function<void(Group&)>& body, const GroupOptions& options = {}) {
  auto groups = make_local_groups(size, options);
  std::vector<std::exception_ptr> errors(groups.size());
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < groups.size(); ++r)
    threads.emplace_back([&, r] {
      try {
        body(*groups[r]);
      } catch (...) {
        errors[r] = std::current_exception();
        groups[r].reset();  // the others must not wait
      }
    });
  for (auto& thread : threads) thread.join();
  for (const auto& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace trireme::worker::collective
