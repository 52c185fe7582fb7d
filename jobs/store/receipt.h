// Receipts (jobs/protocol/FORMAT.md): `<output>.receipt.json` lists a task's outputs, counts and summary and
// is written after them. A valid one answers an equal task without running it. Any thread.
#pragma once

#include <string>

#include "common/io/file_system.h"
#include "jobs/protocol/messages.h"

namespace trireme::store {

// Path, bytes and xxh3 of an output, file or folder, that lies complete at `path`. Throws kNotFound.
jobs::OutputFile describe_output(const std::string& name, const std::string& path,
                                 const io::FileSystem& files = io::disk());

void write_receipt(const jobs::Task& task, const jobs::TaskDone& done,
                   const io::FileSystem& files = io::disk());

// The result of an equal task (with the lease of this one), when its receipt is whole and every output has
// the size and xxh3 it lists; else false, and what was wrong is logged. Reads the outputs.
bool read_receipt(const jobs::Task& task, jobs::TaskDone& done, const io::FileSystem& files = io::disk());

}  // namespace trireme::store
