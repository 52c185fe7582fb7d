// Space set aside for the ledger's last words on a full disk (RELIABILITY 8.4 "Errors").
#pragma once

#include <cstdint>

#include "common/io/file.h"

namespace trireme::coordinator::ledger {

// Really allocated, 0600. False when there is no room (nothing is left behind then).
bool take_reserve(const io::Path& path, std::uint64_t bytes, const io::FileSystem& files = io::disk());
void give_reserve(const io::Path& path);

}  // namespace trireme::coordinator::ledger
