// What is looked at as a gang begins, before anything is computed over it. Collective.
#pragma once

#include <string>

#include "worker/collective/group.h"

namespace trireme::worker::collective {

// A warning where the members' devices are of different kinds, naming each kind with its first rank: the
// slowest sets the pace. "" where all are alike. `kind`: "cpu", or the name of the GPU; "" where it cannot be
// known, and is no other kind.
std::string mixed_kinds(Group& host, const std::string& kind);

// The devices and the network under the gang, tried once: one sum, which is checked. Nothing to try where
// sums pass through the host. Throws kUnavailable naming the device where it comes out wrong, and as the
// group does where a peer does not come.
void try_group(Group& group, const std::string& device);

}  // namespace trireme::worker::collective
