// A gang over the streams of GPUs: operations on device tensors are put on a stream of the communicator's
// own, ordered against the caller's by events, and return before they are done; the host waits for none of
// them. A second thread watches them: a peer that does not come within the deadline (counted from when this
// rank's own work before the operation is done), a stop request, or an error of device or network ends the
// communicator, so that the caller's stream goes on, and the next operation, or confirm(), throws what it
// was. Tensors on the host take the way of the host's group.
#pragma once

#include <memory>

#include "worker/collective/group.h"
#include "worker/collective/stream/stream_calls.h"

namespace trireme::worker::collective {

// Until the communicator is connected. Throws as a Group's operation does.
void connect(StreamCalls& calls, const GroupOptions& options);

// `host`: the same gang; `calls` is connected.
std::unique_ptr<Group> make_stream_group(std::unique_ptr<Group> host, std::unique_ptr<StreamCalls> calls,
                                         const GroupOptions& options);

}  // namespace trireme::worker::collective
