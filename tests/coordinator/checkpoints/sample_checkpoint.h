// Checkpoints with two small files, sealed as the coordinator does it.
#pragma once

#include <unistd.h>
#include <string>

#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/hash.h"
#include "coordinator/checkpoints/manifest.h"

namespace trireme::coordinator::checkpoints {

inline io::Path quick_place(const std::string& name) {
  const io::Path base = io::exists("/dev/shm") ? io::Path("/dev/shm") : io::temporary_folder();
  return base / ("trireme-" + name + "-" + std::to_string(::getpid()));
}

inline std::string spec_with(double learning_rate) {
  return R"({"spec":{"output":"/o","data":{"d":{"path":"a"}},"models":{"m":{"embed_dim":8}},"stages":[)"
         R"({"name":"train","kind":"train","data":"d","model":"m","optimizer":{"learning_rate":)" +
         std::to_string(learning_rate) + "}}]}}";
}

// As gang rank 0 leaves it: <output>/ckpt/train/.tmp-<step>-<incarnation>.
inline SealOrder written_checkpoint(const io::Path& output, std::int64_t step, const std::string& address,
                                    const std::string& run_id = "run-1") {
  SealOrder order{
      .run_id = run_id, .job = "job-000001", .stage = "train", .address = address, .spec = spec_with(0.1)};
  order.ledger_sequence = static_cast<std::uint64_t>(step);
  order.incarnation = 1;
  order.written.step = step;
  const io::Path folder = output / "ckpt/train" / (".tmp-" + std::to_string(step) + "-1");
  order.written.folder = folder.string();
  for (const char* name : {"model.safetensors", "optimizer.safetensors"}) {
    const std::string bytes = name + std::to_string(step) + address;
    io::write_file_atomic(folder / name, bytes, false);
    order.written.files.push_back({name, (folder / name).string(), bytes.size(), io::xxh3_64(bytes)});
  }
  return order;
}

inline ledger::CheckpointRow sealed_checkpoint(const io::Path& output, std::int64_t step,
                                               const std::string& address,
                                               const std::string& run_id = "run-1") {
  return seal_checkpoint(written_checkpoint(output, step, address, run_id));
}

}  // namespace trireme::coordinator::checkpoints
