// One worker of a search service (`trireme serve` starts and watches it): it holds models and indexes, takes
// calls from its standard input, a socket, and answers there (jobs/search/frames.h). Searches that wait are
// answered together. Ends when the service closes the socket.
#pragma once

namespace trireme::worker::stages::index {

// argv: the tool's name, the number of threads, then NAME=RUN per index. Returns 0; throws Error when an
// index cannot be opened.
int run_search_worker(int argc, char** argv);

}  // namespace trireme::worker::stages::index
