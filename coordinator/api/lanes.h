// Who calls the Face: a small pool per kind of call, each with its own queue, so that what takes long keeps
// nobody else waiting. I/O thread only.
#pragma once

#include <cstddef>

#include <boost/asio/thread_pool.hpp>

#include "coordinator/api/endpoints.h"

namespace trireme::coordinator::api {

struct Lane {
  Lane(std::size_t threads, std::size_t most_in) : pool(threads), most(most_in) {}
  boost::asio::thread_pool pool;
  std::size_t most;  // waiting or at work
  std::size_t inside = 0;
};

struct Lanes {
  Lanes(std::size_t most_connections, std::size_t most_submits, std::size_t most_plans)
      : status(4, 4 * most_connections),
        submits(2, most_submits),
        plans(1, most_plans),
        files(2, 4 * most_connections) {}
  Lane status, submits, plans, files;

  Lane& of(Action action) {
    if (action == Action::kSubmit) return submits;
    if (action == Action::kPlan) return plans;
    return action == Action::kLogs || action == Action::kReport ? files : status;
  }
  void join() {
    for (Lane* lane : {&status, &submits, &plans, &files}) lane->pool.join();
  }
};

}  // namespace trireme::coordinator::api
