// Any bytes as each of the files beside a checkpoint: facts and refusals, or an error by name, for towers of
// both kinds. Seeds: the files of tests/golden/peer_folders.json.
#include <cstdlib>

#include <unistd.h>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "jobs/checkpoint/checkpoint_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trireme;
  static const io::Path folder =
      io::temporary_folder() / ("trireme-config-fuzz-" + std::to_string(::getpid()));
  static const bool removed_at_end = std::atexit([] { io::remove_tree(folder); }) == 0;
  if (!removed_at_end) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char* name : {"open_clip_config.json", "config.json", "preprocessor_config.json",
                           "processor_config.json", "tokenizer_config.json", "1_Pooling/config.json",
                           "sentence_bert_config.json", "modules.json", "manifest.json"}) {
    io::write_file_atomic(folder / name, text, false, 0600);
    for (const auto kind : {jobs::ImageTowerKind::kVit, jobs::ImageTowerKind::kEfficientNetB0})
      for (const bool stated_too : {false, true}) try {
          jobs::ModelSpec model;
          model.image.kind = kind;
          const auto config = jobs::read_checkpoint_config((folder / "model.safetensors").string());
          jobs::adopt_config(model, config, true, true, stated_too);
          jobs::contradictions(model, config, true, true);
        } catch (const Error& error) {
          if (error.kind() == ErrorKind::kInternal) std::abort();
        }
    io::remove_file(folder / name);
  }
  return 0;
}
