// Mailboxes of ranks that are threads of one process. Mail has left when the receiver polled it.
#pragma once

#include <memory>
#include <vector>

#include "common/mailbox/mailbox.h"

namespace trireme {

// Rank r's mailbox at position r. They share their post office, which lives as long as the last of them.
std::vector<std::unique_ptr<Mailbox>> make_local_mailboxes(int ranks);

}  // namespace trireme
